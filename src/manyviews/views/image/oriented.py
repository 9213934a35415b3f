"""Crops of images that have no up: flipped both ways, turned by quarter turns, rotated freely."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from manyviews.core.inputs import Input
from manyviews.core.ranges import Probability, Range
from manyviews.core.sample import Window
from manyviews.views.draw import family, streams, unit
from manyviews.views.image.crops import CropMaker
from manyviews.views.image.single import rotate
from manyviews.views.image.whole import OfWhole
from manyviews.views.plan import Crops

_FLIP, _TURN, _WHICH, _ANGLE = 64, 65, 66, 67
"""Elements of a view's stream of random numbers; those of `draw` come before them."""


@dataclass(frozen=True, kw_only=True)
class Oriented(Crops):
    """A family of crops of each image, in any orientation.

    A view is cut and coloured as said of `Crops`, then flipped top to bottom, turned by a quarter,
    half or three quarters, and rotated, in this order. Flips and quarter turns move pixels and
    change none; other angles are bilinear, with the view mirrored at its borders.

    Attributes:
        flip_vertical: probability of a flip top to bottom.
        turn: probability of a turn, by 90, 180 or 270 degrees alike; 0.75 makes all four alike.
        rotate: largest angle of the free rotation in degrees, drawn uniformly to both sides.
    """

    flip_vertical: Probability = 0.5
    turn: Probability = 0.75
    rotate: Annotated[float, Range("degrees from 0 to 180", 0, 180)] = 0.0

    def maker(self, name: str, input: Input, grid: tuple[int, ...], *, seed: int) -> "OrientMaker":
        """What makes the views. Raises UsageError where the encoder is not fed images."""
        return OrientMaker(self, CropMaker(self, name, input, grid, seed=seed), name, seed=seed)


class OrientMaker(OfWhole):
    """Makes the views of one family: [V, S, S, C] uint8, and the masks of its crops."""

    def __init__(self, plan: Oriented, crops: CropMaker, name: str, *, seed: int) -> None:
        """Keep the maker of crops."""
        self._plan, self._crops = plan, crops
        self._family, self._seed = family(f"{name}.orientation"), seed
        self.layout, self.cues = crops.layout, crops.cues

    def __call__(
        self,
        decoded: Sequence[NDArray[np.uint8]],
        windows: Sequence[Window],
        index: int,
        epoch: int,
        out: NDArray[np.uint8],
        around: Sequence[Window] = (),
    ) -> Mapping[str, NDArray[Any]]:
        """Fill out [V, S, S, C] with views of one image."""
        cues = self._crops(decoded, windows, index, epoch, out)
        states = streams(
            seed=self._seed,
            epoch=epoch,
            family=self._family,
            index=np.array([index]),
            count=self.layout.count,
        )[0]
        plan = self._plan
        flips = unit(states, _FLIP) < plan.flip_vertical
        which = 1 + (3 * unit(states, _WHICH)).astype(np.int64)
        turns = np.where(unit(states, _TURN) < plan.turn, which, 0)
        angles = (2 * unit(states, _ANGLE) - 1) * plan.rotate
        for view, flip, turn, angle in zip(out, flips, turns.tolist(), angles, strict=True):
            made = np.rot90(view[::-1] if flip else view, turn)
            if angle:
                made = rotate(np.ascontiguousarray(made)[None], degrees=float(angle))[0]
            view[:] = made.copy()  # it may look at the same memory
        return cues
