"""An image cut into a grid of overlapping patches, in order: what CPC sees."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from manyviews.core.inputs import Input
from manyviews.core.ranges import Count, NotNegative, Probability, Range, Share
from manyviews.core.sample import Layout, Window
from manyviews.views.draw import family
from manyviews.views.image.crops import fed_pixels
from manyviews.views.image.tiles import cut
from manyviews.views.image.whole import OfWhole
from manyviews.views.plan import Crops

SIDE = 7
"""Patches on a side of the grid (Henaff et al. 2019, section 4)."""


@dataclass(frozen=True, kw_only=True)
class Patches:
    """A family of 7 x 7 overlapping patches of each image, row by row.

    A random crop of the image becomes a square, of which a patch is cut every `stride` pixels.
    Each patch is flipped and coloured by itself, so that no colour goes on from one to the next.
    The defaults are CPC's geometry of 256 pixels.

    Attributes:
        to: the encoder that they are made for.
        of: the stream.
        size: side of a patch, in pixels.
        stride: pixels from a patch to the next.
        scale: area of the crop as a share of the image, drawn uniformly.
        flip: probability that a patch is flipped horizontally.
        jitter: probability of a patch's colour jitter.
        brightness: factor in [1-b, 1+b], as torchvision's ColorJitter; contrast, saturation too.
        hue: shift in [-h, h] of a full turn.
        grey: probability that a patch is greyscale.
    """

    to: str = "image"
    of: str = "image"
    size: Count = 64
    stride: Count = 32
    scale: tuple[Share, Share] = (0.3, 1.0)
    flip: Probability = 0.5
    jitter: Probability = 0.8
    brightness: NotNegative = 0.4
    contrast: NotNegative = 0.4
    saturation: NotNegative = 0.4
    hue: Annotated[float, Range("a share of a turn from 0 to 0.5", 0, 0.5)] = 0.1
    grey: Probability = 0.25

    @property
    def count(self) -> int:
        """V: all patches."""
        return SIDE**2

    @property
    def around(self) -> str:
        """Nothing."""
        return ""

    def wrong(self) -> list[tuple[str, object, str]]:
        """A scale out of order."""
        if not 0 < self.scale[0] <= self.scale[1]:
            return [("scale", self.scale, "shares with 0 < low <= high <= 1")]
        return []

    def maker(self, name: str, input: Input, grid: tuple[int, ...], *, seed: int) -> "PatchMaker":
        """What makes the patches. Raises UsageError where the encoder is not fed images."""
        return PatchMaker(self, name, fed_pixels(name, self.to, input).channels, seed=seed)


class PatchMaker(OfWhole):
    """Makes the patches of one family: [V, S, S, C] uint8."""

    def __init__(self, patches: Patches, name: str, channels: int, *, seed: int) -> None:
        """Keep the plan."""
        self._patches, self._seed = patches, seed
        self._square, self._family = family(f"{name}.square"), family(name)
        size = patches.size
        self.layout = Layout(patches.count, (size, size, channels), np.dtype(np.uint8))
        self.cues: Mapping[str, Layout] = {}
        self._crop = Crops(
            count=1,
            size=size + (SIDE - 1) * patches.stride,
            scale=patches.scale,
            flip=0.0,
            jitter=0.0,
            grey=0.0,
            blur=(0.0,),
        )
        self._colours = Crops(
            count=patches.count,
            size=size,
            scale=(1.0, 1.0),
            ratio=(1.0, 1.0),
            flip=patches.flip,
            jitter=patches.jitter,
            brightness=patches.brightness,
            contrast=patches.contrast,
            saturation=patches.saturation,
            hue=patches.hue,
            grey=patches.grey,
            blur=(0.0,),
        )

    def __call__(
        self,
        decoded: Sequence[NDArray[np.uint8]],
        windows: Sequence[Window],
        index: int,
        epoch: int,
        out: NDArray[np.uint8],
        around: Sequence[Window] = (),
    ) -> Mapping[str, NDArray[Any]]:
        """Fill out [V, S, S, C] with the patches of one image [H, W, C]."""
        drawn = {"seed": self._seed, "index": index, "epoch": epoch}
        square = cut(decoded[0][None], self._crop, family=self._square, **drawn)[0, 0]
        size, starts = (
            self._patches.size,
            range(0, SIDE * self._patches.stride, self._patches.stride),
        )
        pieces = [square[y : y + size, x : x + size] for y in starts for x in starts]
        out[:] = cut(np.stack(pieces), self._colours, family=self._family, **drawn)[:, 0]
        return {}
