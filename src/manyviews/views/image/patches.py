"""An image cut into a grid of overlapping patches, in order: what CPC sees."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyviews.core.inputs import Input
from manyviews.core.ranges import Count, Share
from manyviews.core.sample import Layout, Window
from manyviews.views.draw import family
from manyviews.views.image.crops import fed_pixels
from manyviews.views.image.pieces import Coloured, cut, square
from manyviews.views.image.whole import OfWhole

SIDE = 7
"""Patches on a side of the grid (Henaff et al. 2019, section 4)."""


@dataclass(frozen=True, kw_only=True)
class Patches(Coloured):
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
    """

    to: str = "image"
    of: str = "image"
    size: Count = 64
    stride: Count = 32
    scale: tuple[Share, Share] = (0.3, 1.0)

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
        self._crop = square(size=size + (SIDE - 1) * patches.stride, scale=patches.scale)
        self._colours = patches.whole(count=patches.count, size=size)

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
        whole = cut(decoded[0][None], self._crop, family=self._square, **drawn)[0, 0]
        size, starts = (
            self._patches.size,
            range(0, SIDE * self._patches.stride, self._patches.stride),
        )
        pieces = [whole[y : y + size, x : x + size] for y in starts for x in starts]
        out[:] = cut(np.stack(pieces), self._colours, family=self._family, **drawn)[:, 0]
        return {}
