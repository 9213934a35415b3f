"""A file opened by FFmpeg: one handle, one clock for all of its streams, every error one line."""

import importlib
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from manyviews.core import UsageError
from manyviews.core.extras import lacking
from manyviews.core.sample import Unreadable

if TYPE_CHECKING:
    from av import AudioStream, VideoStream
    from av.container import InputContainer

_FORMATS = (
    "mov,mp4,matroska,webm,avi,mpeg,mpegvideo,mpegts,flv,asf,gif,mp3,wav,flac,ogg,aac,aiff,w64,caf"
)
"""Kinds that hold their own data: lists and scripts, which name other files, are not opened."""

_REWRITE = "Rewrite it: ffmpeg -i FILE -c copy NEW.mp4"
_FIRST_STEP_BACK = 1.0
TOLERANCE = 0.5
"""Seconds by which a stream may end before its header says so; headers round."""


def _lenient(av: Any) -> dict[str, str]:
    """What PyAV wants to be told so that titles in no known alphabet cost nothing; 19 knows."""
    return {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}


class Container:
    """An opened file, closed when it is forgotten.

    Its times are seconds since the file's first stream begins, on the clock that pictures and
    sound share; what matters is when a frame is presented, never its number.

    Attributes:
        path: of the file.
        origin: when that clock begins, on the file's own.
    """

    _opened: "InputContainer | None" = None

    def __init__(self, path: str, *, extra: str) -> None:
        """Read the header.

        Args:
            path: of a file; nothing but this file is ever opened, whatever is written in it.
            extra: the optional dependencies to name where PyAV is missing.

        Raises:
            Unreadable: no such file, or not of a kind that FFmpeg knows.
            UsageError: PyAV is missing.
        """
        av = needed("av", extra)
        self.path = path
        with reasons(path):
            options = {"protocol_whitelist": "file", "format_whitelist": _FORMATS}
            try:
                opened: InputContainer = av.open(f"file:{path}", options=options, **_lenient(av))
            except (av.InvalidDataError, av.ArgumentError) as error:
                known = "no video or sound of a known kind, or its header is broken or cut off"
                raise ValueError(known) from error
            self._opened = opened
            self.origin = (opened.start_time or 0) / av.time_base
            self._length = None if opened.duration is None else opened.duration / av.time_base

    def __del__(self) -> None:
        # PyAV's objects refer to each other in circles: left alone they stay until a collection.
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def has(self, kind: Literal["video", "audio"]) -> bool:
        """Whether there is such a stream; a cover picture is no video."""
        return bool(self._streams(kind))

    def video(self) -> "VideoStream":
        """The first stream of pictures. Raises ValueError."""
        return self._first("video")

    def audio(self) -> "AudioStream":
        """The first stream of sound. Raises ValueError."""
        return self._first("audio")

    def end(self, stream: "VideoStream | AudioStream") -> tuple[float, bool]:
        """When a stream ends, in seconds, and whether its header says so of this very stream.

        Raises:
            ValueError: the header does not say.
        """
        begin = 0.0 if stream.start_time is None else self._seconds(stream, stream.start_time)
        if stream.duration is not None:
            return begin + float(stream.duration * (stream.time_base or 0)), True
        written = _clock(stream.metadata.get("DURATION", ""))  # Matroska's, as FFmpeg writes it
        if written is not None:
            return written - self.origin, True
        if self._length is None:
            raise ValueError(f"its header does not say how long it lasts. {_REWRITE}")
        return self._length, len(self._opened.streams) == 1 if self._opened else False

    def frames(
        self, stream: "VideoStream | AudioStream", *, start: float
    ) -> Generator[tuple[float, Any]]:
        """Yield (time, frame) as presented, from one at or before `start` on.

        From the key frame before it, so that what is decoded does not depend on where one came
        from. Where a file begins later than `start`, from its first frame on.
        """
        if self._opened is None:
            raise ValueError("it was closed")
        at, back = max(0.0, start), _FIRST_STEP_BACK
        while True:
            base = stream.time_base or 1
            try:
                # The first picture of a stream of packets is decoded well before it is shown.
                packets = "mpeg" in self._opened.format.name.split(",")[0]
                early = 1.0 if packets and at == 0 and stream.type == "video" else 0.0
                self._opened.seek(int((at + self.origin - early) / base), stream=stream)
            except PermissionError as error:
                raise ValueError(
                    f"it has no frames, or no index to find them by. {_REWRITE}"
                ) from error
            decoded = self._timed(stream)
            time, frame = next(decoded, (0.0, None))
            # Key frames are found by when they are decoded, which may be before they are shown.
            # In streams of packets a search may even end behind the last of them.
            if (frame is not None and time <= start) or at == 0:
                break
            at, back = max(0.0, at - back), 2 * back
        if frame is not None:
            yield time, frame
            yield from decoded

    def packets(self, stream: "VideoStream | AudioStream") -> Generator[tuple[float, bool]]:
        """Yield (time, whether decoding can begin there) of each frame as stored, undecoded."""
        if self._opened is None:
            raise ValueError("it was closed")
        self._opened.seek(0, stream=stream)
        for packet in self._opened.demux(stream):
            at = packet.dts if packet.pts is None else packet.pts
            if at is not None and not packet.is_discard:
                yield self._seconds(stream, at), packet.is_keyframe

    def whole(self, stream: "VideoStream | AudioStream", *, last: float, stop: float) -> None:
        """Refuse a stream whose frames end at `last` although a window up to `stop` wants more.

        Raises:
            ValueError: it ends well before its own header says.
        """
        end, own = self.end(stream)
        if own and last + TOLERANCE < min(stop, end):
            message = f"it ends at {last:.2f} s, its header says {end:.2f} s; copy it again"
            raise ValueError(message)

    def _timed(self, stream: "VideoStream | AudioStream") -> Generator[tuple[float, Any]]:
        assert self._opened is not None
        for frame in self._opened.decode(stream):
            if frame.pts is None:
                raise ValueError(f"its frames have no times. {_REWRITE}")
            yield self._seconds(stream, frame.pts), frame

    def _seconds(self, stream: "VideoStream | AudioStream", pts: int) -> float:
        return float(pts * (stream.time_base or 0)) - self.origin

    def _streams(self, kind: Literal["video", "audio"]) -> list[Any]:
        if self._opened is None:
            raise ValueError("it was closed")
        every = getattr(self._opened.streams, kind)
        return [s for s in every if not s.disposition & type(s.disposition).attached_pic]

    def _first(self, kind: Literal["video", "audio"]) -> Any:
        found = self._streams(kind)
        if not found:
            raise ValueError(f"it has no {kind}")
        if found[0].codec_context is None:
            raise ValueError(f"its {kind} is of a codec that this FFmpeg cannot decode")
        found[0].codec_context.thread_count = 1  # workers are processes: more would fight for cores
        return found[0]


def needed(module: str, extra: str) -> Any:
    """A package that not everyone has installed.

    Raises:
        UsageError: it is missing; says what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise lacking(f"Reading {extra}", module, extra) from error


@contextmanager
def reasons(path: str) -> Generator[None]:
    """Turn whatever a decoder raises into `Unreadable`, with one line."""
    try:
        yield
    except (Unreadable, UsageError):
        raise
    except Exception as error:
        raise Unreadable(path, _reason(error)) from error


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "not enough memory to decode it"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(getattr(error, "strerror", None) or error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]


def _clock(text: str) -> float | None:
    """Seconds of "hh:mm:ss.fraction", None for anything else."""
    try:
        hours, minutes, seconds = (float(part) for part in text.split(":"))
    except ValueError:
        return None
    return 3600 * hours + 60 * minutes + seconds
