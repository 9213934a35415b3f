"""Clips that differ from the plain one in their time alone: what they add to one frame."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from manyviews.core.inputs import Frames, Input
from manyviews.core.sample import WHOLE, Family, Layout, Window
from manyviews.views.draw import family, streams, words
from manyviews.views.video.clips import fed_frames
from manyviews.views.video.flow import CHANNELS

Change = Literal["middle frame alone", "shuffled frames", "reversed", "half the speed"]


def retimed(input: Frames) -> dict[str, Family]:
    """Change -> the family that makes it, and nothing else, of plain clips [T, S, S, C].

    "middle frame alone" stands for all of the clip: as far as that moves the features, the clip
    adds to a picture. "shuffled frames" have the same pictures in random order, "reversed" from
    the last to the first, "half the speed" the middle half of them, each twice. Of optical flow
    there are none, since its frames are motion themselves.
    """
    if input.channels == CHANNELS:
        return {}
    return {change: Retimed(change=change) for change in get_args(Change)}


@dataclass(frozen=True, kw_only=True)
class Retimed:
    """A family of one view: the frames of a clip, chosen and ordered as `change` says.

    Attributes:
        to: the encoder that it is made for.
        of: the stream.
        count: 1.
        around: nothing.
        change: see `retimed`.
    """

    to: str = "video"
    of: str = "video"
    count: int = 1
    around: str = ""
    change: Change = "middle frame alone"

    def maker(self, name: str, input: Input, grid: tuple[int, ...], *, seed: int) -> "RetimeMaker":
        """What makes it. Raises UsageError where the encoder is not fed video."""
        return RetimeMaker(self, name, fed_frames(name, self.to, input), seed=seed)


class RetimeMaker:
    """Makes retimed clips: [1, T, S, S, C] uint8, of clips [T, S, S, C]."""

    cues: Mapping[str, Layout] = {}

    def __init__(self, plan: Retimed, name: str, frames: Frames, *, seed: int) -> None:
        """Keep the change."""
        side = frames.side
        self.layout = Layout(1, (frames.frames, side, side, 3), np.dtype(np.uint8))
        self._change, self._seed, self._family = plan.change, seed, family(f"{name}.frames")

    def windows(
        self, index: int, epoch: int, span: float, around: Sequence[Window] = ()
    ) -> list[Window]:
        """All of it."""
        return [WHOLE]

    def __call__(
        self,
        decoded: Sequence[NDArray[np.uint8]],
        windows: Sequence[Window],
        index: int,
        epoch: int,
        out: NDArray[np.uint8],
        around: Sequence[Window] = (),
    ) -> Mapping[str, NDArray[Any]]:
        """Fill out [1, T, S, S, C] with one clip [T, S, S, C], retimed."""
        out[0] = decoded[0][self._places(len(decoded[0]), index, epoch)]
        return {}

    def _places(self, count: int, index: int, epoch: int) -> NDArray[np.int64]:
        """Which frame stands at each of `count` places."""
        every = np.arange(count)
        if self._change == "middle frame alone":
            return np.full(count, count // 2)
        if self._change == "reversed":
            return every[::-1]
        if self._change == "half the speed":
            return count // 4 + every // 2
        states = streams(
            seed=self._seed,
            epoch=epoch,
            family=self._family,
            index=np.array([index]),
            count=1,
        )
        return np.argsort(words(states, every.astype(np.uint64))[0, 0], kind="stable")
