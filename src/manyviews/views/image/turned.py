"""Crops of an image turned by quarter turns: what rotation tasks and PIRL see."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyviews.core.inputs import Input
from manyviews.core.ranges import Natural
from manyviews.core.sample import Layout, Window
from manyviews.views.draw import family, streams, unit
from manyviews.views.image.crops import CropMaker
from manyviews.views.image.whole import OfWhole
from manyviews.views.plan import Crops

_TURN = 64
"""Element of a view's stream of random numbers; those of `draw` come before it."""


@dataclass(frozen=True, kw_only=True)
class Turned(Crops):
    """A family of crops of each image, each turned by a random number of quarter turns.

    By how many, counter-clockwise, is the cue "turns" [V] int64 in 0 ... 3. How they are cut and
    coloured before that is said as of `Crops`, but that no tokens are masked.
    """

    count: Natural = 1

    def wrong(self) -> Iterator[tuple[str, object, str]]:
        """As of crops; and masks, which would be over tokens that are turned away."""
        yield from super().wrong()
        if self.mask.ratio:
            yield "mask.ratio", self.mask.ratio, "0: turned crops have no masks"

    def maker(self, name: str, input: Input, grid: tuple[int, ...], *, seed: int) -> "TurnMaker":
        """What makes the views. Raises UsageError where the encoder is not fed images."""
        return TurnMaker(CropMaker(self, name, input, grid, seed=seed), name, seed=seed)


class TurnMaker(OfWhole):
    """Makes the turned views of one family: [V, S, S, C] uint8."""

    def __init__(self, crops: CropMaker, name: str, *, seed: int) -> None:
        """Keep the maker of crops."""
        self._crops, self._family, self._seed = crops, family(f"{name}.turns"), seed
        self.layout = crops.layout
        count = crops.layout.count
        self.cues: Mapping[str, Layout] = {"turns": Layout(count, (), np.dtype(np.int64))}

    def __call__(
        self,
        decoded: Sequence[NDArray[np.uint8]],
        windows: Sequence[Window],
        index: int,
        epoch: int,
        out: NDArray[np.uint8],
        around: Sequence[Window] = (),
    ) -> Mapping[str, NDArray[Any]]:
        """Fill out [V, S, S, C] with turned crops of one image; return by how many turns."""
        self._crops(decoded, windows, index, epoch, out)
        states = streams(
            seed=self._seed,
            epoch=epoch,
            family=self._family,
            index=np.array([index]),
            count=self.layout.count,
        )[0]
        turns = (4 * unit(states, _TURN)).astype(np.int64)
        for view, turn in zip(out, turns.tolist(), strict=True):
            view[:] = np.rot90(view, turn)
        return {"turns": turns}
