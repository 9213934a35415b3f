"""What `evaluate` measures of the places in an image: patch features, beside what costs nothing."""

import functools
import logging
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core import UsageError
from manyviews.core.inputs import Pixels
from manyviews.core.progress import bar
from manyviews.evaluation.dense.masked import MaskedImages, open_masked
from manyviews.evaluation.dense.segmentation import DensePart, segmentation
from manyviews.evaluation.dense.settings import DENSE_PROTOCOLS, Segmentation
from manyviews.evaluation.features import Cache, Embed, cached, extract, fingerprint, said
from manyviews.evaluation.result import Beside
from manyviews.runs.assemble import readers
from manyviews.runs.embedder import Embedder
from manyviews.runs.subject import untrained
from manyviews.views.pipeline import plain_of

log = logging.getLogger("manyviews")

_CELL = 4
"""Raw pixels are compared as so many numbers along each side of a patch."""


def dense_of(names: Sequence[str], subject: Embedder, **given: object) -> bool:
    """Whether protocols read masks; those that do go alone, on encoders of images with tokens.

    Args:
        names: as asked for.
        subject: the encoder.
        given: flag -> its value, of those that are for pooled features.

    Raises:
        UsageError: asked together with others, or of an encoder or with flags that it is not for.
    """
    dense = [name for name in names if name in DENSE_PROTOCOLS]
    if not dense:
        return False
    others = [name for name in names if name not in dense]
    if others:
        raise UsageError(
            f"{dense[0]} reads masks and {others[0]} labels of whole images. Ask for one at a time."
        )
    asked = [f"--{name} {value}" for name, value in given.items() if value]
    if asked:
        raise UsageError(f"{asked[0]} is for features of whole images. Leave it out.")
    if not isinstance(subject.input, Pixels) or len(subject.encoder.grid) != 2:
        raise UsageError(
            f"{dense[0]} is for encoders of images, and this one is fed "
            f"{type(subject.input).__name__}."
        )
    return True


def parts_of(
    data: str, subject: Embedder, *, max_pixels: int, train_data: str = ""
) -> tuple[MaskedImages, MaskedImages]:
    """Both parts of images with masks. Raises UsageError as `open_masked`."""
    channels = subject.pixels.channels
    return (
        open_masked(train_data or data, channels=channels, max_pixels=max_pixels, split="train"),
        open_masked(data, channels=channels, max_pixels=max_pixels, split="test"),
    )


def segmented(
    subject: Embedder,
    parts: tuple[MaskedImages, MaskedImages],
    *,
    settings: Segmentation,
    cache: Cache,
    batch_size: int,
    baselines: bool,
    device: torch.device,
) -> Beside:
    """The protocol on the encoder's patch features, and on those of what no training touched."""
    input = subject.pixels
    height, width = subject.encoder.grid

    @functools.cache
    def masks(part: MaskedImages, index: tuple[int, ...]) -> Tensor:
        return part.classes(input, index, ignore=settings.ignore)

    def seen(embed: Embed, key: str) -> list[DensePart]:
        found: list[DensePart] = []
        for part in parts:
            with bar("embedding") as progress:
                got = cached(
                    cache.directory,
                    encoder=key,
                    source=part.source.digest,
                    transform=said(input),
                    compute=lambda part=part, progress=progress: extract(
                        embed,
                        part.source,
                        plain_of(input),
                        batch_size=batch_size,
                        device=device,
                        progress=progress,
                        workers=readers(part.source),
                        warn=cache.warn,
                    ),
                    warn=cache.warn,
                )
            found.append(DensePart(got.features, masks(part, tuple(got.index.tolist()))))
        return found

    def pixels(x: Tensor) -> Tensor:
        small = F.adaptive_avg_pool2d(x, (height * _CELL, width * _CELL))
        return F.unfold(small, _CELL, stride=_CELL).transpose(1, 2)

    def of(network: Embedder) -> tuple[Embed, str]:
        key = f"{fingerprint(network)} {network.config} patches fp32"
        return network.tokens, key

    sides = {"": of(subject)}
    if baselines:
        sides["raw pixels"] = (pixels, f"pixels {height}x{width}x{_CELL}")
        sides["untrained encoder"] = of(untrained(subject).to(device))
    results = {
        title: segmentation(
            *seen(embed, key), grid=(height, width), settings=settings, names=parts[0].names
        )
        for title, (embed, key) in sides.items()
    }
    mine = results.pop("")
    if parts[1].split == "hashed":
        mine = replace(mine, notes=(*mine.notes, "split by the hash of paths, 80 to 20"))
    return Beside(result=mine, beside=results)
