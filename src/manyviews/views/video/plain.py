"""The clips of evaluation: always the same ones of a video, nothing random."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from manyviews.core.inputs import Frames, Input, Pixels
from manyviews.core.sample import Layout, Window
from manyviews.views.image.plain import Plain
from manyviews.views.video import flow
from manyviews.views.video.clips import fed_frames


@dataclass(frozen=True, kw_only=True)
class PlainClips:
    """Clips spread evenly over a video, cut to the middle as plain pictures are.

    The times at which a clip may begin are divided into as many equal parts as there are clips, and
    clip k begins in the middle of part k: one clip is the middle of the video.

    Attributes:
        averaged: see `views.by_input.PLAIN`.
        to: the encoder that they are made for.
        of: the stream.
        count: views of each video: its clips, times `crops`.
        crops: squares of each clip, one after the other: 1 is its middle, more are spread along
            the longer side, and the shorter is then seen whole (`Plain.along`).
    """

    averaged: ClassVar[tuple[str, ...]] = ("clips", "crops")
    to: str = "video"
    of: str = "video"
    count: int = 1
    crops: int = 1

    @property
    def around(self) -> str:
        """Nothing: clips are cut around no other family."""
        return ""

    def maker(
        self, name: str, input: Input, grid: tuple[int, ...], *, seed: int
    ) -> "PlainClipMaker":
        """What makes the clips. Raises UsageError where the encoder is not fed video."""
        fed = fed_frames(name, self.to, input, flows=True)
        return PlainClipMaker(self.count, fed, crops=self.crops)


class PlainClipMaker:
    """Makes plain clips: [V, T, S, S, C] uint8."""

    cues: Mapping[str, Layout] = {}

    def __init__(self, count: int, frames: Frames, *, crops: int = 1) -> None:
        """Keep the numbers."""
        self._crops = crops
        side = frames.side
        shape = (frames.frames, side, side, frames.channels)
        self.layout = Layout(count, shape, np.dtype(np.uint8))
        self._flows = frames.channels == flow.CHANNELS
        self._frames = flow.needed(frames)
        self._plain = Plain(Pixels(side=side))

    def windows(
        self, index: int, epoch: int, span: float, around: Sequence[Window] = ()
    ) -> list[Window]:
        """One window a view, the same for every index and epoch and for all crops of a clip."""
        seconds, frames = self._frames.seconds, self._frames.frames
        starts = spread(self.layout.count // self._crops, span - seconds)
        clips = [Window(start, start + seconds, frames) for start in starts]
        return [clip for clip in clips for _ in range(self._crops)]

    def __call__(
        self,
        decoded: Sequence[NDArray[np.uint8]],
        windows: Sequence[Window],
        index: int,
        epoch: int,
        out: NDArray[np.uint8],
        around: Sequence[Window] = (),
    ) -> Mapping[str, NDArray[Any]]:
        """Fill out [V, T, S, S, C] with the middles, or the crops, of V clips [T, H, W, 3]."""
        for first in range(0, len(decoded), self._crops):
            for view, crop in enumerate(self._cut(decoded[first]), start=first):
                out[view] = flow.flow(crop) if self._flows else crop
        return {}

    def _cut(self, clip: NDArray[np.uint8]) -> Sequence[NDArray[np.uint8]]:
        """Its crops, each [T, S, S, 3], of one clip [T, H, W, 3]."""
        if self._crops == 1:
            return [self._plain.uint8(clip)]
        frames = [self._plain.along(frame, self._crops) for frame in clip]
        return [np.stack(crop) for crop in zip(*frames, strict=True)]


def spread(count: int, room: float) -> list[float]:
    """The middles of `count` equal parts of [0, room], 0 where there is no room."""
    return [max(0.0, room) * (k + 0.5) / count for k in range(count)]
