"""The clips of evaluation: always the same ones of a video, nothing random."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyviews.core.inputs import Frames, Input, Pixels
from manyviews.core.sample import Layout, Window
from manyviews.views.image.plain import Plain
from manyviews.views.video.clips import fed_frames


@dataclass(frozen=True, kw_only=True)
class PlainClips:
    """`count` clips spread evenly over a video, cut to the middle as plain pictures are.

    The times at which a clip may begin are divided into `count` equal parts, and clip k begins in
    the middle of part k: one clip is the middle of the video.

    Attributes:
        to: the encoder that they are made for.
        of: the stream.
        count: clips of each video.
    """

    to: str = "video"
    of: str = "video"
    count: int = 1

    @property
    def around(self) -> str:
        """Nothing: clips are cut around no other family."""
        return ""

    def maker(
        self, name: str, input: Input, grid: tuple[int, ...], *, seed: int
    ) -> "PlainClipMaker":
        """What makes the clips. Raises UsageError where the encoder is not fed video."""
        return PlainClipMaker(self.count, fed_frames(name, self.to, input))


class PlainClipMaker:
    """Makes plain clips: [V, T, S, S, 3] uint8."""

    cues: Mapping[str, Layout] = {}

    def __init__(self, count: int, frames: Frames) -> None:
        """Keep the numbers."""
        side = frames.side
        self.layout = Layout(count, (frames.frames, side, side, 3), np.dtype(np.uint8))
        self._frames = frames
        self._plain = Plain(Pixels(side=side, mean=frames.mean, std=frames.std))

    def windows(
        self, index: int, epoch: int, span: float, around: Sequence[Window] = ()
    ) -> list[Window]:
        """One window a clip, the same for every index and epoch."""
        seconds, frames = self._frames.seconds, self._frames.frames
        starts = spread(self.layout.count, span - seconds)
        return [Window(start, start + seconds, frames) for start in starts]

    def __call__(
        self,
        decoded: Sequence[NDArray[np.uint8]],
        windows: Sequence[Window],
        index: int,
        epoch: int,
        out: NDArray[np.uint8],
        around: Sequence[Window] = (),
    ) -> Mapping[str, NDArray[Any]]:
        """Fill out [V, T, S, S, 3] with the middles of V clips [T, H, W, 3]."""
        for row, clip in zip(out, decoded, strict=True):
            row[...] = self._plain.uint8(clip)
        return {}


def spread(count: int, room: float) -> list[float]:
    """The middles of `count` equal parts of [0, room], 0 where there is no room."""
    return [max(0.0, room) * (k + 0.5) / count for k in range(count)]
