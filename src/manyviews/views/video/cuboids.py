"""Pieces of a clip that are shuffled: four places at one time, or four times at one place."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from manyviews.core.inputs import Frames, Input
from manyviews.core.ranges import Count, NotNegative, Probability, Range, Share
from manyviews.core.sample import Layout, Window
from manyviews.views.draw import Words, unit, words
from manyviews.views.video.clips import ClipMaker, Clips, fed_frames

_ORDER, _TOP, _LEFT, _PLACE = 66, 67, 68, 69
"""Elements of a view's stream of random numbers; those of `Clips` come before them."""


@dataclass(frozen=True, kw_only=True)
class Cuboids:
    """A family of `count` cuboids of each video, in random order.

    A random crop, with one set of colours, is the same for all of them and divided into square
    cells. Along "space" cuboid v shows one of the cells, all at about one time; along "time" all
    show one cell, at times that follow one another without overlap. Each is cut at a random place
    inside its cell, by itself, so that no edge goes on from one to the next. Which cell or time
    cuboid v shows is the cue "order" [V] int64: cells row by row, times from the first on.

    The defaults of cells are Kim et al.'s (arXiv:1811.09795): a grid of 2 x 2 places and 4 times,
    cells of 112 pixels of which 80 are seen, half of the clips grey.

    Attributes:
        to: the encoder that they are made for; cuboids are as large and long as it is fed.
        of: the stream.
        count: cuboids of each video.
        along: what they differ in.
        room: pixels of a cell's side for each of a cuboid's.
        slack: seconds within which the cuboids along space begin, each by itself.
        scale: area of the crop as a share of the frame, drawn uniformly.
        flip: probability that all are flipped horizontally.
        jitter: probability of colour jitter.
        brightness: factor in [1-b, 1+b]; contrast, saturation too.
        hue: shift in [-h, h] of a full turn.
        grey: probability of greyscale.
    """

    to: str = "video"
    of: str = "video"
    count: Count = 4
    along: Literal["space", "time"] = "space"
    room: Annotated[float, Range("1 or more", 1)] = 1.4
    slack: NotNegative = 0.0
    scale: tuple[Share, Share] = (0.5, 1.0)
    flip: Probability = 0.5
    jitter: Probability = 0.0
    brightness: NotNegative = 0.4
    contrast: NotNegative = 0.4
    saturation: NotNegative = 0.4
    hue: Annotated[float, Range("a share of a turn from 0 to 0.5", 0, 0.5)] = 0.1
    grey: Probability = 0.5

    @property
    def around(self) -> str:
        """Nothing."""
        return ""

    @property
    def cells(self) -> int:
        """On each side of the crop."""
        return math.isqrt(self.count - 1) + 1

    def wrong(self) -> list[tuple[str, object, str]]:
        """A scale out of order, and places that fill no square."""
        found: list[tuple[str, object, str]] = []
        if not 0 < self.scale[0] <= self.scale[1]:
            found.append(("scale", self.scale, "shares with 0 < low <= high <= 1"))
        if self.along == "space" and self.cells**2 != self.count:
            found.append(("count", self.count, "4, 9 or another square, as they lie along space"))
        return found

    def maker(self, name: str, input: Input, grid: tuple[int, ...], *, seed: int) -> "CuboidMaker":
        """What makes the cuboids. Raises UsageError where the encoder is not fed video."""
        return CuboidMaker(self, name, fed_frames(name, self.to, input), seed=seed)

    def clips(self, side: int) -> Clips:
        """What they are cut out of: one clip for each, all of one crop of so many pixels."""
        return Clips(
            to=self.to,
            of=self.of,
            count=self.count,
            within=self.slack,
            times="in-order" if self.along == "time" else "uniform",
            alike=True,
            size=side,
            scale=self.scale,
            ratio=(1.0, 1.0),
            flip=self.flip,
            jitter=self.jitter,
            brightness=self.brightness,
            contrast=self.contrast,
            saturation=self.saturation,
            hue=self.hue,
            grey=self.grey,
        )


class CuboidMaker:
    """Makes the cuboids of one family, [V, T, S, S, 3] uint8."""

    def __init__(self, cuboids: Cuboids, name: str, frames: Frames, *, seed: int) -> None:
        """Keep the plan."""
        self._cuboids = cuboids
        self._cell = round(cuboids.room * frames.side)
        clips = cuboids.clips(cuboids.cells * self._cell)
        self._clips = ClipMaker(clips, name, frames, (), seed=seed)
        shape = (frames.frames, frames.side, frames.side, 3)
        self.layout = Layout(cuboids.count, shape, np.dtype(np.uint8))
        self.cues: Mapping[str, Layout] = {"order": Layout(cuboids.count, (), np.dtype(np.int64))}

    def windows(
        self, index: int, epoch: int, span: float, around: Sequence[Window] = ()
    ) -> list[Window]:
        """One window a cuboid."""
        found = self._clips.windows(index, epoch, span)
        if self._cuboids.along == "space":
            return found
        return [found[k] for k in self._order(self._clips.states(index, epoch))]

    def __call__(
        self,
        decoded: Sequence[NDArray[np.uint8]],
        windows: Sequence[Window],
        index: int,
        epoch: int,
        out: NDArray[np.uint8],
        around: Sequence[Window] = (),
    ) -> Mapping[str, NDArray[Any]]:
        """Fill out [V, T, S, S, 3] with pieces of V clips [T, H, W, 3]; return their order."""
        plan, states, size = self._cuboids, self._clips.states(index, epoch), self.layout.shape[1]
        order, layout = self._order(states), self._clips.layout
        crops = np.empty((layout.count, *layout.shape), dtype=np.uint8)
        self._clips(decoded, windows, index, epoch, crops)
        cells = plan.cells**2
        place = int(unit(states[:1], _PLACE)[0] * cells)
        shown = order if plan.along == "space" else np.full(plan.count, place)
        room = self._cell - size + 1
        tops = shown // plan.cells * self._cell + (unit(states, _TOP) * room).astype(np.int64)
        lefts = shown % plan.cells * self._cell + (unit(states, _LEFT) * room).astype(np.int64)
        for view, (y, x) in enumerate(zip(tops.tolist(), lefts.tolist(), strict=True)):
            out[view] = crops[view, :, y : y + size, x : x + size]
        return {"order": order}

    @staticmethod
    def _order(states: Words) -> NDArray[np.int64]:
        """[V]: what each cuboid shows."""
        return np.argsort(words(states, np.array([_ORDER], dtype=np.uint64))[:, 0], kind="stable")
