"""The encoder that a user keeps, frozen or as weights for timm."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from manyviews import encoders
from manyviews.core import Encoder, UsageError
from manyviews.core.inputs import Frames, Input, Pixels
from manyviews.data import direct
from manyviews.data.pictures import Picture, pixels
from manyviews.encoders import file
from manyviews.encoders.file import About
from manyviews.encoders.weights import network
from manyviews.views.by_input import plain_of
from manyviews.views.pipeline import Item, Pipeline


class Embedder(nn.Module):
    """A trained encoder, frozen: normalised images [B, C, H, W] in, embeddings [B, D] out.

    Encoders of video take clips [B, C, T, H, W], those of sound spectrograms [B, 1, F, bins].

    It stays in evaluation mode. To train it further, take `encoder` and thaw its parameters.

    Attributes:
        encoder: the network.
        about: all that its file says of it.
        config: how it was built.
        info: what was said of it when it was saved (method, data, steps).
        input: what it is fed.
        dim: D.
    """

    def __init__(self, encoder: Encoder, about: About) -> None:
        super().__init__()
        self.encoder = encoder
        self.about = about
        self.config, self.info = about.encoder, dict(about.info)
        self.dim = encoder.dim
        self.input = encoder.input
        self.requires_grad_(requires_grad=False)
        self.eval()

    @property
    def pixels(self) -> Pixels:
        """What an encoder of images is fed.

        Raises:
            UsageError: it takes something else.
        """
        if isinstance(self.input, Pixels):
            return self.input
        raise UsageError(
            f"The encoder {self.config.name} is fed {type(self.input).__name__}, and this is for "
            "encoders of images. Take `encoder` and `input` by themselves."
        )

    @cached_property
    def fixed(self) -> Pipeline:
        """Makes the view of evaluation, as the only family."""
        return plain_of(self.input)

    def plain(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """The views of evaluation, [B, C, S, S] normalised, of images [H, W, C] uint8.

        Raises:
            UsageError: the encoder is fed something else.
        """
        _ = self.pixels
        items = {i: Item(image=image) for i, image in enumerate(images)}
        raw = {k: torch.from_numpy(v) for k, v in direct.made(self.fixed, items)[0].items()}
        batch = self.fixed.finish(raw, {}, torch.tensor(list(items)), torch.device("cpu"))
        [views] = batch.views.values()
        return views[:, 0]

    def train(self, mode: bool = True) -> "Embedder":  # noqa: FBT001, FBT002 - as nn.Module
        """Stay in evaluation mode, whatever the module around it does."""
        del mode
        return super().train(mode=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W], or what else it is fed, normalised -> [B, D].

        Raises:
            UsageError: there is no batch.
        """
        wanted = self.input.shape
        if x.ndim == len(wanted):
            raise UsageError(
                f"A tensor of shape {list(x.shape)} is no batch; wanted [B, "
                f"{', '.join(map(str, wanted))}]. One image is encoder(x[None])."
            )
        return self.encoder(x).pooled

    def predict(self, data: str | Path, *, batch_size: int = 256) -> Any:
        """A pandas.DataFrame of the features of every image, video or sound: path -> D numbers.

        What cannot be read is left out. `manyviews.embed` writes the same to a file.

        Args:
            data: a folder, a text file of paths, fashion-mnist:DIR or builtin:fashion.
            batch_size: samples at a time.

        Raises:
            UsageError: there is no such data, or pandas is not installed.
        """
        from manyviews.runs.predict import predict  # it asks for this class

        return predict(self, data, batch_size=batch_size)

    def __repr__(self) -> str:
        """One line; `encoder` by itself shows all layers."""
        method = f"{self.info['method']}, " if "method" in self.info else ""
        size = " x ".join(map(str, self.input.shape))
        return f"Embedder({method}{self.config.name}: {size} -> {self.dim})"

    def tokens(self, x: Tensor) -> Tensor:
        """[B, C, H, W] normalised -> [B, N, T], one row for each place in the image.

        T is `dim` for most encoders; `core.Features` says where it is less.
        """
        return self.encoder(x).tokens

    def transform(self, image: Picture) -> Tensor:
        """One image -> [C, S, S] float, resized and normalised as the encoder wants it.

        Args:
            image: a file, a Pillow image, an array or a tensor (see `Picture`).

        Raises:
            UsageError: it cannot be read or has other channels.
        """
        return self.plain([pixels(image, channels=self.pixels.channels)])[0]


def save_encoder(
    path: str | Path,
    encoder: Encoder,
    *,
    config: object,
    info: Mapping[str, str],
) -> None:
    """Write a self-describing safetensors file, whole or not at all.

    The tensors of timm models have timm's names.

    Args:
        path: usually encoder.safetensors.
        encoder: as `encoders.build(config)` builds it.
        config: how to build it again.
        info: strings to keep with it, for instance the method.
    """
    about = About(encoder=config, resize=resize_rule(encoder.input), info=info)
    file.write(Path(path), encoder, about)


def load_encoder(path: str | Path) -> Embedder:
    """Read what `save_encoder` wrote. Never unpickles, never downloads.

    Raises:
        UsageError: the file is missing, broken, from another program, or its description and its
            weights do not agree.
    """
    path = Path(path)
    about, state = file.read(path)
    if about.resize != resize_rule(about.encoder.input):
        raise UsageError(
            f"{path} was trained for another way of resizing images ({about.resize}). "
            "Use the version of manyviews that wrote it."
        )
    with torch.random.fork_rng(devices=[]):  # the random weights are thrown away
        encoder = encoders.build(about.encoder)
    try:
        network(encoder).load_state_dict(state)
    except RuntimeError as error:
        problem = [line.strip() for line in str(error).splitlines() if line.strip()][-1]
        raise UsageError(
            f"The weights in {path} are not those of the encoder {about.encoder.name} that it "
            f"describes ({problem[:200]}). Export it again from its run."
        ) from None
    return Embedder(encoder, about)


def copy(path_in: str | Path, path_out: str | Path) -> None:
    """Write an encoder file once more, after making sure that it loads.

    Raises:
        UsageError: it does not load.
    """
    embedder = load_encoder(path_in)
    file.write(Path(path_out), embedder.encoder, embedder.about)


def resize_rule(input: Input) -> str:
    """How evaluation views are resized, in words; saved, so that a later change is noticed."""
    if not isinstance(input, Pixels | Frames):
        return "none"
    side = input.side
    if resized(side) > side:
        return f"shorter side to {resized(side)}, bilinear, antialiased; then centre crop"
    return f"to {side}x{side}, bilinear, antialiased"


def resized(side: int) -> int:
    """Pixels of the shorter side before the crop to `side`; the same where there is no crop."""
    return side * 256 // 224 if side >= 96 else side
