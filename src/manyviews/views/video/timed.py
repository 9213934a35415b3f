"""Clips that know when they begin, two by two near in time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyviews.core.inputs import Frames, Input
from manyviews.core.ranges import Count, NotNegative
from manyviews.core.sample import Layout, Window
from manyviews.views.draw import unit
from manyviews.views.video.clips import ClipMaker, Clips, fed_frames

_AFTER = 70
"""Element of a view's stream of random numbers; those of `Clips` come before it."""


@dataclass(frozen=True, kw_only=True)
class TimedClips(Clips):
    """Clips of which every second one begins within `near` seconds of the one before it.

    When each begins, in seconds, is the cue "time" [V] float32.

    Attributes:
        near: seconds, to either side.
    """

    count: Count = 4
    near: NotNegative = 0.2

    def maker(self, name: str, input: Input, grid: tuple[int, ...], *, seed: int) -> "TimedMaker":
        """What makes the clips. Raises UsageError where the encoder is not fed video."""
        return TimedMaker(self, name, fed_frames(name, self.to, input), grid, seed=seed)


class TimedMaker(ClipMaker):
    """Makes the clips of one family, and says when they begin."""

    def __init__(
        self, plan: TimedClips, name: str, frames: Frames, grid: tuple[int, ...], *, seed: int
    ) -> None:
        """Keep the plan; see `TimedClips.maker`."""
        super().__init__(plan, name, frames, grid, seed=seed)
        self._near = plan.near
        time = Layout(plan.count, (), np.dtype(np.float32))
        self.cues: Mapping[str, Layout] = {**self.cues, "time": time}

    def windows(
        self, index: int, epoch: int, span: float, around: Sequence[Window] = ()
    ) -> list[Window]:
        """One window a clip."""
        found = super().windows(index, epoch, span)
        drawn = unit(self.states(index, epoch), _AFTER)
        for view in range(1, len(found), 2):
            before, own = found[view - 1], found[view]
            length = own.stop - own.start
            start = before.start + (2 * float(drawn[view]) - 1) * self._near
            start = min(max(0.0, start), max(0.0, span - length))
            found[view] = Window(start, start + length, own.count)
        return found

    def __call__(
        self,
        decoded: Sequence[NDArray[np.uint8]],
        windows: Sequence[Window],
        index: int,
        epoch: int,
        out: NDArray[np.uint8],
        around: Sequence[Window] = (),
    ) -> Mapping[str, NDArray[Any]]:
        """Fill out [V, T, S, S, 3]; return the cues."""
        cues = super().__call__(decoded, windows, index, epoch, out, around)
        times = np.array([window.start for window in windows], dtype=np.float32)
        return {**cues, "time": times}
