"""What an encoder is fed: the one home of sizes, channels, rates and normalisation.

Workers make raw views (bytes of pixels, waves of sound, points); `finish` turns them into what the
encoder takes, on the device, and `restore` takes the normalisation back.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyviews.core.log_mel import log_mel
from manyviews.core.ranges import Count, Positive, Range

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of red, green and blue in [0, 1] (torchvision's models)."""

_CACHED = 1 << 17
"""Floats that stay in a core's second-level cache."""

_MIDDLE = 0.5
"""Of colours from 0 to 1: what is fed where a point has none."""
_DRAWN = 96
"""Pixels along each side of a drawing of points."""


Side = Annotated[int, Range("from 1 to 8192 pixels", 1, 8192)]
Channels = Annotated[int, Range("from 1 to 1024", 1, 1024)]
Mean = Annotated[tuple[float, ...], Range("numbers from 0 to 1, of pixels from 0 to 1", 0, 1)]
Std = Annotated[
    tuple[float, ...],
    Range("numbers above 0 and up to 1, of pixels from 0 to 1", 0, 1, above=True),
]
Finite = Annotated[float, Range("a finite number", -math.inf)]


class Input(Protocol):
    """What one encoder is fed."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one view: (C, S, S), (C, T, S, S), (1, F, bins) or (N, 3 + features)."""
        ...

    def finish(self, raw: Tensor) -> Tensor:
        """[..., *shape] float32, normalised, of raw views as workers make them, on any device."""
        ...

    def restore(self, x: Tensor) -> Tensor:
        """Take back the normalisation of [..., *shape]: pixels in [0, 1], log power, metres."""
        ...

    def picture(self, x: Tensor) -> NDArray[np.uint8]:
        """[H, W, C] uint8 to look at, of one view [*shape] as the encoder takes it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """Square images; raw views are [..., S, S, C] uint8.

    Attributes:
        side: S, in pixels.
        channels: C.
        mean: per channel, of pixels in [0, 1]; one number serves all channels.
        std: likewise.
    """

    side: Side = 224
    channels: Channels = 3
    mean: Mean = IMAGENET_MEAN
    std: Std = IMAGENET_STD

    def wrong(self) -> Iterator[tuple[str, object, str]]:
        """Numbers for other channels than there are."""
        yield from _for_channels(self.channels, self.mean, self.std)

    def __str__(self) -> str:
        """For people."""
        return f"{self.side} px"

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, S, S)."""
        return self.channels, self.side, self.side

    def finish(self, raw: Tensor) -> Tensor:
        """[..., C, S, S] float32 of [..., S, S, C] uint8; the order in memory stays the input's."""
        return normalise(raw, self.mean, self.std)

    def restore(self, x: Tensor) -> Tensor:
        """Pixels in [0, 1], [..., C, S, S]."""
        return _restore(x, self.mean, self.std, axes=2)

    def picture(self, x: Tensor) -> NDArray[np.uint8]:
        """The image itself, [S, S, C]."""
        return _levels(self.restore(_shown(x)))


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Square clips of video; raw views are [..., T, S, S, C] uint8.

    Attributes:
        side: S, in pixels.
        channels: C.
        mean: per channel, of pixels in [0, 1]; one number serves all channels.
        std: likewise.
        frames: T.
        rate: frames a second.
    """

    side: Side = 224
    channels: Channels = 3
    mean: Mean = IMAGENET_MEAN
    std: Std = IMAGENET_STD
    frames: Count = 8
    rate: Positive = 8.0

    def wrong(self) -> Iterator[tuple[str, object, str]]:
        """Numbers for other channels than there are."""
        yield from _for_channels(self.channels, self.mean, self.std)

    def __str__(self) -> str:
        """For people."""
        return f"{self.frames} frames of {self.side} px over {self.seconds:g} s"

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, T, S, S)."""
        return self.channels, self.frames, self.side, self.side

    @property
    def seconds(self) -> float:
        """How long a clip lasts."""
        return self.frames / self.rate

    def finish(self, raw: Tensor) -> Tensor:
        """[..., C, T, S, S] float32 of [..., T, S, S, C] uint8; memory keeps the input's order."""
        return normalise(raw, self.mean, self.std).movedim(-3, -4)

    def restore(self, x: Tensor) -> Tensor:
        """Pixels in [0, 1], [..., C, T, S, S]."""
        return _restore(x, self.mean, self.std, axes=3)

    def picture(self, x: Tensor) -> NDArray[np.uint8]:
        """The frame in the middle, [S, S, C]."""
        return _levels(self.restore(_shown(x))[:, x.shape[1] // 2])


@dataclass(frozen=True, kw_only=True)
class LogMel:
    """Logarithms of the power in mel bands over time; raw views are waves [..., S] float32.

    The filter banks of Kaldi as torchaudio.compliance.kaldi.fbank computes them with
    window_type="hanning" and no dither, which is what AST and Audio-MAE feed: 25 ms frames less
    their means, pre-emphasis 0.97, a symmetric Hann window, zeros up to the next power of two, the
    squared magnitude of the FFT, triangles equally spaced in mel from 20 Hz to half the rate, the
    natural logarithm with a floor of 1.19e-7.

    Frames begin every `hop` from the wave's first sample on, round(seconds / hop) of them. The last
    ones overrun the wave, where zeros follow; all others are torchaudio's (snip_edges=True). So a
    wave that ends in silence ends in the floor. Audio-MAE instead appends rows of 0 to the
    logarithms, which is loud.

    Normalisation is (x - mean) / std, as of every input here: deviation 1. AST and Audio-MAE divide
    by 2 std; for their weights give twice their number as `std`. The defaults are AudioSet's at
    16 kHz, 128 bins (Audio-MAE, dataset.py).

    Attributes:
        rate: samples a second.
        seconds: how long a wave lasts.
        bins: mel bands.
        hop: seconds from one frame to the next.
        window: seconds that a frame lasts.
        mean: of the logarithms.
        std: likewise.
    """

    rate: Count = 16000
    seconds: Positive = 2.0
    bins: Count = 128
    hop: Positive = 0.010
    window: Positive = 0.025
    mean: Finite = -4.2677393
    std: Positive = 4.5689974

    def __str__(self) -> str:
        """For people."""
        return f"{self.seconds:g} s of sound in {self.bins} bands"

    @property
    def samples(self) -> int:
        """S, of one wave."""
        return round(self.rate * self.seconds)

    @property
    def shape(self) -> tuple[int, ...]:
        """(1, F, bins): time first."""
        return 1, round(self.seconds / self.hop), self.bins

    def finish(self, raw: Tensor) -> Tensor:
        """[..., 1, F, bins] float32 of waves [..., S] in [-1, 1]; float32 under autocast too."""
        frames, bins = self.shape[1:]
        # Whole samples, rounded down, as Kaldi does; the fraction is for 0.01 * 16100 and its like.
        hop, width = (int(self.rate * seconds + 1e-6) for seconds in (self.hop, self.window))
        x = log_mel(raw, rate=self.rate, frames=frames, hop=hop, width=width, bins=bins)
        return ((x - self.mean) / self.std).unsqueeze(-3)

    def restore(self, x: Tensor) -> Tensor:
        """Log power, [..., 1, F, bins]."""
        return x * self.std + self.mean

    def picture(self, x: Tensor) -> NDArray[np.uint8]:
        """The spectrogram [bins, F, 1], time to the right, low at the bottom, its peak white."""
        power = self.restore(_shown(x))
        low, high = power.min(), power.max()
        return _levels(((power - low) / (high - low).clamp(min=1e-6)).transpose(-1, -2).flip(-2))


@dataclass(frozen=True, kw_only=True)
class Points:
    """Clouds of points; raw views are [..., N, 3 + features] float32.

    The columns are x, y, z, then red, green, blue from 0 to 1 where `colour` is fed, then the
    normal where `normals` are. What is not known of a point is NaN in raw views, and what is fed
    then is the middle: grey, and a normal of no length.

    Attributes:
        count: N; of larger clouds so many points are taken, points of smaller ones repeat.
        colour: whether colours are fed.
        normals: whether normals are fed.
        unit: each cloud is moved to the mean of its points and scaled to the unit ball before
            views of it are made; False keeps metres and the sensor's place.
    """

    count: Count = 1024
    colour: bool = False
    normals: bool = False
    unit: bool = True

    def __str__(self) -> str:
        """For people."""
        fed = [name for name in ("colour", "normals") if getattr(self, name)]
        return f"{self.count} points" + (f" with {' and '.join(fed)}" if fed else "")

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, 3 + features)."""
        return self.count, 3 + 3 * self.colour + 3 * self.normals

    def finish(self, raw: Tensor) -> Tensor:
        """[..., N, 3 + features] float32, less grey of the colours; 0 for what is not known."""
        return (raw.float() - self._middle(raw)).nan_to_num(nan=0.0)

    def restore(self, x: Tensor) -> Tensor:
        """Coordinates as they are, colours from 0 to 1, normals: [..., N, 3 + features]."""
        return x + self._middle(x)

    def picture(self, x: Tensor) -> NDArray[np.uint8]:
        """Three projections side by side, [S, 3 S, 3]: from the front, the side and above.

        z is up in the first two. What is nearer covers what is farther, which is drawn paler;
        points have their colours where those are fed. Every cloud fills its drawing.
        """
        points = self.restore(_shown(x)).numpy()
        places = points[:, :3] - (points[:, :3].min(0) + points[:, :3].max(0)) / 2
        places = places / max(float(np.abs(places).max()), 1e-12)
        paint = points[:, 3:6] if self.colour else np.zeros((len(points), 3))
        sides = [_projection(places, paint, *axes) for axes in ((0, 2, -1), (1, 2, 0), (0, 1, 2))]
        return np.concatenate(sides, axis=1)

    def _middle(self, x: Tensor) -> Tensor:
        """[3 + features]: what is fed as 0."""
        middle = x.new_zeros(self.shape[1], dtype=torch.float32)
        if self.colour:
            middle[3:6] = _MIDDLE
        return middle


def _projection(
    places: NDArray[np.floating], paint: NDArray[np.floating], right: int, up: int, near: int
) -> NDArray[np.uint8]:
    """[S, S, 3] of points [N, 3] in [-1, 1], on white.

    Args:
        places: the points.
        paint: [N, 3], their colours in [0, 1].
        right: the axis that points to the right.
        up: the axis that points upwards.
        near: the axis that is looked along, from its high end; -1 for y, from its low end.
    """
    canvas = np.full((_DRAWN, _DRAWN, 3), 255, dtype=np.uint8)
    depth = -places[:, 1] if near < 0 else places[:, near]
    order = np.argsort(depth, kind="stable")  # the nearest last, over the others
    drawn = (places[:, [right, up]] * (1, -1) + 1) / 2 * (_DRAWN - 1)
    column, row = drawn.round().astype(int).clip(0, _DRAWN - 1).T
    pale = 0.6 * (1 - (depth + 1) / 2)[:, None]
    levels = np.clip((paint * (1 - pale) + pale) * 255, 0, 255).astype(np.uint8)
    canvas[row[order], column[order]] = levels[order]
    return canvas


def image_channels(input: Input) -> int:
    """Channels of the images that are read for an input; 3 where it is fed something else."""
    return input.channels if isinstance(input, Pixels) else 3


def _shown(x: Tensor) -> Tensor:
    return x.detach().float().cpu()


def _levels(shown: Tensor) -> NDArray[np.uint8]:
    """[H, W, C] uint8 of [C, H, W] in [0, 1]."""
    levels = (shown * 255).round().clamp(0, 255).byte().permute(1, 2, 0)
    return np.ascontiguousarray(levels.numpy())


def _for_channels(
    channels: int, mean: Sequence[float], std: Sequence[float]
) -> Iterator[tuple[str, object, str]]:
    for name, values in (("mean", mean), ("std", std)):
        if len(values) not in (1, channels):
            yield name, values, f"one number for each of {channels} channels, or one for all"


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """[..., C, H, W] float32, (x / 255 - mean) / std, of images [..., H, W, C] uint8.

    The result keeps the order in memory of the input: it is channels-last.

    Args:
        images: any leading dimensions, any device.
        mean: per channel, of pixels in [0, 1]; one number serves all channels.
        std: likewise.
    """
    width, channels = images.shape[-2:]
    # Whole rows at once: broadcasting over an innermost axis of three is several times slower.
    center = torch.tensor(mean, dtype=torch.float32).expand(width, channels).flatten()
    scale = torch.tensor(std, dtype=torch.float32).expand(width, channels).flatten()
    factor, shift = (1 / (255 * scale)).to(images.device), (-center / scale).to(images.device)
    stored = images.reshape(-1, width * channels)
    if images.device.type == "cpu":
        # numpy asks the system for large pages: for a batch of photographs 3 to 4 times as fast.
        out = torch.from_numpy(np.empty(tuple(stored.shape), dtype=np.float32))
    else:
        out = torch.empty(stored.shape, dtype=torch.float32, device=images.device)
    # On a processor, a cache's worth at a time; an accelerator takes everything in one call.
    step = max(1, _CACHED // (width * channels)) if images.device.type == "cpu" else len(stored)
    for first in range(0, len(stored), max(1, step)):
        rows = slice(first, first + step)
        torch.addcmul(shift, stored[rows].to(torch.float32), factor, out=out[rows])
    return out.reshape(images.shape).movedim(-1, -3)


def _restore(x: Tensor, mean: Sequence[float], std: Sequence[float], *, axes: int) -> Tensor:
    """Undo `normalise` where the channels stand before `axes` others."""
    shape = (-1,) + (1,) * axes
    return x * x.new_tensor(std).view(shape) + x.new_tensor(mean).view(shape)
