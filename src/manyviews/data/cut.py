"""Sounds and videos as a sample for each window of them."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from manyviews.core.sample import WHOLE, Source, Stream, Unreadable, Window
from manyviews.data.timeouts import Unanswered, within


@dataclass(frozen=True)
class Piece:
    """A part of a stream, as a stream that begins where the part does.

    Attributes:
        inner: the stream.
        start: of the part, in seconds.
        span: its length.
    """

    inner: Stream
    start: float
    span: float

    def read(self, window: Window = WHOLE) -> NDArray[Any]:
        """Decode a window of the part. Raises `Unreadable`."""
        stop = self.span if window == WHOLE else window.stop
        moved = Window(self.start + window.start, self.start + stop, window.count)
        return self.inner.read(moved)


class Cut:
    """Another source's samples, each in as many as there are windows of it (a `Source`).

    Attributes:
        rows: of each sample here, where it comes from: the other's sample, and seconds from its
            beginning to the window's start and end.
        bad: position in the other source -> why nothing is known of that sample.
    """

    def __init__(self, source: Source, *, seconds: float, every: float) -> None:
        """Open all samples and see how long they are.

        Args:
            source: with one stream, which has time.
            seconds: of a window.
            every: seconds from the start of one to that of the next.
        """
        self._inner, self._seconds = source, seconds
        [self._stream] = source.streams
        self.rows: list[tuple[int, float, float]] = []
        self.bad: dict[int, Unreadable] = {}
        for index in range(len(source)):
            try:
                with within():
                    span = source.open(index)[self._stream].span
            except Unreadable as error:
                self.bad[index] = error
            except Unanswered as late:
                self.bad[index] = Unreadable(source.name(index), str(late))
            else:
                for start in starts(span, seconds=seconds, every=every):
                    self.rows.append((index, start, min(span, start + seconds)))
        said = f"{source.digest}\0{seconds!r}\0{every!r}"
        self.digest = hashlib.sha256(said.encode()).hexdigest()

    @property
    def spec(self) -> str:
        """The other source's."""
        return self._inner.spec

    @property
    def streams(self) -> tuple[str, ...]:
        """The other source's."""
        return self._inner.streams

    @property
    def stack(self) -> Mapping[str, NDArray[Any]]:
        """Nothing is in memory."""
        return {}

    def __len__(self) -> int:
        return len(self.rows)

    def open(self, index: int) -> Mapping[str, Stream]:
        """The window's stream. Raises `Unreadable`."""
        inner, start, _ = self.rows[index]
        stream = self._inner.open(inner)[self._stream]
        return {self._stream: Piece(stream, start, self._seconds)}

    def name(self, index: int) -> str:
        """That of the sample which the window is of."""
        return self._inner.name(self.rows[index][0])

    def raw(self, index: int) -> bytes | None:
        """Nothing: a window is no file."""
        return None


def starts(span: float, *, seconds: float, every: float) -> list[float]:
    """Where windows of a sample begin that together have all of it.

    One begins every so often as long as it fits. Where the last of them leaves something, one more
    ends with the sample. A sample that is shorter than a window has one.

    Args:
        span: seconds of the sample.
        seconds: of a window.
        every: seconds from the start of one to that of the next.
    """
    room = max(0.0, span - seconds)
    found = [k * every for k in range(1 + math.floor(room / every + _CLOSE))]
    return [*found, room] if room - found[-1] > _CLOSE * seconds else found


_CLOSE = 1e-6
"""As a share: what is nearer than that is there."""
