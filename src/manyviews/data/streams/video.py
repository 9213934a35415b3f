"""The pictures of a video file, a window at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from manyviews.core.sample import WHOLE, Unreadable, Window
from manyviews.data.streams.container import Container, reasons
from manyviews.data.streams.numbered import Numbered, why_not

if TYPE_CHECKING:
    from av import VideoFrame

Clip = NDArray[np.uint8]

VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".flv", ".wmv")
)
"""Files with these endings (in any case) are taken for videos."""

_EARLY = 0.0005
"""Seconds by which a frame may be early for a time: half the tick of files that count in ms."""


@dataclass(frozen=True)
class VideoHeader:
    """What a header says of the pictures.

    Attributes:
        width: in pixels, as stored: before the turn that a telephone notes (frames tell it).
        height: likewise.
        rate: frames a second, on average; 0 where unknown.
        seconds: when the last frame ends.
        codec: FFmpeg's name for it.
    """

    width: int
    height: int
    rate: float
    seconds: float
    codec: str


@dataclass(frozen=True)
class Timing:
    """When frames are shown, in seconds.

    Attributes:
        times: [T] float64 of all frames, ascending.
        keys: [K] float64 of those that decoding can begin at.
    """

    times: NDArray[np.float64]
    keys: NDArray[np.float64]


class Video:
    """A stream of pictures: windows of it are [T, H, W, 3] uint8, upright.

    Frame k of a window is the one that a viewer sees at its time; so the frame rate may vary.
    Before the first frame that is the first, after the last one the last. Red, green and blue by
    the colour space that the file names.

    Attributes:
        header: read when the file is opened.
        span: in seconds.
    """

    def __init__(self, container: Container) -> None:
        """Read the header; nothing is decoded.

        Raises:
            Unreadable: no pictures, or of unknown length.
        """
        self._container = container
        with reasons(container.path):
            self._stream = container.video()
            context = self._stream.codec_context
            end, _ = container.end(self._stream)
            self.header = VideoHeader(
                width=context.width,
                height=context.height,
                rate=float(self._stream.average_rate or 0),
                seconds=end,
                codec=context.name,
            )
        self.span = self.header.seconds

    def read(self, window: Window = WHOLE) -> Clip:
        """[T, H, W, 3] uint8: `window.count` frames, or all that are shown first in the window.

        Raises:
            Unreadable: broken, cut off, or without frames.
        """
        with reasons(self._container.path):
            if not window.count:
                return self._all(window)
            length = (window.stop - window.start) / window.count
            times = [window.start + k * length for k in range(window.count)]
            found = self._by_number(times) if why_not() is None else None
            return self._spaced(times) if found is None else found

    def timing(self) -> Timing:
        """When each frame is shown, by the file's index or by reading it through; none is decoded.

        Raises:
            Unreadable: broken, or without frames.
        """
        with reasons(self._container.path):
            found = list(self._container.packets(self._stream))
            if not found:
                raise ValueError("it has no frames")
            keys = sorted(time for time, key in found if key)
            return Timing(np.array(sorted(time for time, _ in found)), np.array(keys))

    def each(self) -> Iterator[tuple[float, Clip]]:
        """Yield (time, [H, W, 3] uint8) of every frame in turn, upright.

        Raises:
            Unreadable: broken, cut off, or without frames.
        """
        with reasons(self._container.path):
            last, frame = 0.0, None
            for last, frame in self._container.frames(self._stream, start=0.0):
                yield last, _pixels(frame)
            if frame is None:
                raise ValueError("it has no frames")
            self._container.whole(self._stream, last=self._over(last, frame), stop=self.span)

    @cached_property
    def _numbered(self) -> tuple[NDArray[np.float64], Numbered] | None:
        """When each frame is shown, and the frames; None where reading it through fails."""
        try:
            times = self.timing().times
        except Unreadable:
            return None
        path, clock = self._container.path, times + self._container.origin
        return times, Numbered(path, self._stream.index, clock)

    def _by_number(self, asked: list[float]) -> Clip | None:
        """As `_spaced`, by torchcodec; None where the last frame is wanted, or it cannot."""
        if self._numbered is None:
            return None
        times, frames = self._numbered
        numbers = np.maximum(0, np.searchsorted(times - _EARLY, asked, side="right") - 1)
        if numbers[-1] == len(times) - 1:  # whether the file is whole is known by decoding it
            return None
        each, places = np.unique(numbers, return_inverse=True)
        found = frames.frames(each.tolist())
        return None if found is None else found[places]

    def _spaced(self, times: list[float]) -> Clip:
        count = len(times)
        shown: list[tuple[int, VideoFrame]] = []  # (of how many times, the frame)
        held, until, done = None, 0.0, 0
        for time, frame in self._container.frames(self._stream, start=times[0]):
            if held is not None:
                before = _count_before(times, done, time - _EARLY)
                if before:
                    shown.append((before, held))
                    done += before
            held, until = frame, time
            if done == count:
                break
        if held is None:
            raise ValueError("it has no frames")
        if done < count:
            self._container.whole(self._stream, last=self._over(until, held), stop=times[-1])
            shown.append((count - done, held))
        return _clip(shown)

    def _all(self, window: Window) -> Clip:
        shown: list[tuple[int, VideoFrame]] = []
        last, frame = -1.0, None
        for last, frame in self._container.frames(self._stream, start=window.start):
            if last >= window.stop - _EARLY:
                break
            if last >= window.start - _EARLY:
                shown.append((1, frame))
        else:
            if frame is None:
                raise ValueError("it has no frames")
            self._container.whole(self._stream, last=self._over(last, frame), stop=window.stop)
        if not shown:
            raise ValueError(f"no frame begins from {window.start:.2f} to {window.stop:.2f} s")
        return _clip(shown)

    def _over(self, time: float, frame: "VideoFrame") -> float:
        """When a frame ends, at the latest: where the file does not say, two frames on."""
        lasts = float((frame.duration or 0) * (self._stream.time_base or 0))
        return time + max(lasts, 2 / self.header.rate if self.header.rate else 0.0)


def _count_before(times: list[float], first: int, limit: float) -> int:
    count = 0
    while first + count < len(times) and times[first + count] < limit:
        count += 1
    return count


def _clip(shown: "list[tuple[int, VideoFrame]]") -> Clip:
    """The pixels of frames, each repeated as often as it is seen."""
    out: Clip | None = None
    at, total = 0, sum(times for times, _ in shown)
    for times, frame in shown:
        pixels = _pixels(frame)
        if out is None:
            out = np.empty((total, *pixels.shape), dtype=np.uint8)
        elif pixels.shape != out.shape[1:]:
            sizes = " and ".join(f"{s[1]} x {s[0]}" for s in (out.shape[1:], pixels.shape))
            raise ValueError(f"its frames change size ({sizes})")
        out[at : at + times] = pixels
        at += times
    assert out is not None
    return out


def _pixels(frame: "VideoFrame") -> Clip:
    """[H, W, 3], turned by the quarter turns that the frame asks for."""
    pixels = cast("Clip", frame.reformat(format="rgb24", threads=1).to_ndarray())
    turns = round(frame.rotation / 90) % 4
    return np.rot90(pixels, turns) if turns else pixels
