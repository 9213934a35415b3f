"""An image cut into tiles that are shuffled: what jigsaw tasks and PIRL see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from manyviews.core.inputs import Input
from manyviews.core.ranges import Count, Probability, Range, Share
from manyviews.core.sample import Layout, Window
from manyviews.views.draw import family, streams, unit, words
from manyviews.views.image.crops import fed_pixels
from manyviews.views.image.pieces import Coloured, cut, square
from manyviews.views.image.whole import OfWhole

_TOP, _LEFT, _ORDER = 64, 65, 66
"""Elements of a view's stream of random numbers; those of `draw` come before them."""


@dataclass(frozen=True, kw_only=True)
class Tiles(Coloured):
    """A family of grid x grid tiles of each image, in random order.

    A random crop of the image becomes a square of grid x grid cells; of each cell a random tile is
    cut, so that no edge goes on from one tile to the next, and gets colours of its own. Which cell
    tile v shows is the cue "order" [V] int64, row by row.

    The defaults are PIRL's (facebookresearch/vissl,
    configs/config/pretrain/pirl/pirl_jigsaw_4node_resnet50.yaml); its posterise, sharpen,
    solarise and autocontrast are left out.

    Attributes:
        to: the encoder that they are made for.
        of: the stream.
        grid: cells on each side.
        cell: side of a cell, in pixels.
        size: side of a tile, in pixels.
        scale: area of the crop as a share of the image, drawn uniformly.
    """

    to: str = "image"
    of: str = "image"
    grid: Count = 3
    cell: Count = 85
    size: Count = 64
    scale: tuple[Share, Share] = (0.6, 1.0)
    jitter: Probability = 1.0
    hue: Annotated[float, Range("a share of a turn from 0 to 0.5", 0, 0.5)] = 0.2
    grey: Probability = 0.2

    @property
    def count(self) -> int:
        """V: all tiles."""
        return self.grid**2

    @property
    def around(self) -> str:
        """Nothing."""
        return ""

    def wrong(self) -> list[tuple[str, object, str]]:
        """A tile that is larger than its cell, or a scale out of order."""
        found: list[tuple[str, object, str]] = []
        if self.size > self.cell:
            found.append(("size", self.size, f"no more than the cell's {self.cell} pixels"))
        if not 0 < self.scale[0] <= self.scale[1]:
            found.append(("scale", self.scale, "shares with 0 < low <= high <= 1"))
        return found

    def maker(self, name: str, input: Input, grid: tuple[int, ...], *, seed: int) -> "TileMaker":
        """What makes the tiles. Raises UsageError where the encoder is not fed images."""
        return TileMaker(self, name, fed_pixels(name, self.to, input).channels, seed=seed)


class TileMaker(OfWhole):
    """Makes the tiles of one family: [V, S, S, C] uint8."""

    def __init__(self, tiles: Tiles, name: str, channels: int, *, seed: int) -> None:
        """Keep the plan."""
        self._tiles, self._seed = tiles, seed
        self._square, self._family = family(f"{name}.square"), family(name)
        count, size = tiles.count, tiles.size
        self.layout = Layout(count, (size, size, channels), np.dtype(np.uint8))
        self.cues: Mapping[str, Layout] = {"order": Layout(count, (), np.dtype(np.int64))}
        self._crop = square(size=tiles.grid * tiles.cell, scale=tiles.scale)
        self._colours = tiles.whole(count=count, size=size)

    def __call__(
        self,
        decoded: Sequence[NDArray[np.uint8]],
        windows: Sequence[Window],
        index: int,
        epoch: int,
        out: NDArray[np.uint8],
        around: Sequence[Window] = (),
    ) -> Mapping[str, NDArray[Any]]:
        """Fill out [V, S, S, C] with the tiles of one image [H, W, C]; return their cells."""
        tiles, size = self._tiles, self._tiles.size
        drawn = {"seed": self._seed, "index": index, "epoch": epoch}
        whole = cut(decoded[0][None], self._crop, family=self._square, **drawn)[0, 0]
        states = streams(
            seed=self._seed,
            epoch=epoch,
            family=self._family,
            index=np.array([index]),
            count=tiles.count,
        )[0]
        order = np.argsort(words(states, np.array([_ORDER], dtype=np.uint64))[:, 0], kind="stable")
        room = tiles.cell - size + 1
        tops = order // tiles.grid * tiles.cell + (unit(states, _TOP) * room).astype(np.int64)
        lefts = order % tiles.grid * tiles.cell + (unit(states, _LEFT) * room).astype(np.int64)
        pieces = [whole[y : y + size, x : x + size] for y, x in zip(tops, lefts, strict=True)]
        out[:] = cut(np.stack(pieces), self._colours, family=self._family, **drawn)[:, 0]
        return {"order": order}
