"""The sound of a file, a window at a time."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from manyviews.core.sample import WHOLE, Stream, Window
from manyviews.data.streams.container import Container, needed, reasons

if TYPE_CHECKING:
    from av import AudioFrame

Wave = NDArray[np.float32]

PLAIN_SUFFIXES = frozenset((".wav", ".flac", ".ogg", ".mp3"))
"""Of these, what libsndfile knows is read by it; it cuts exactly and needs no FFmpeg."""

AUDIO_SUFFIXES = PLAIN_SUFFIXES | {".m4a", ".aac", ".opus", ".oga", ".wma", ".mka", ".aif", ".aiff"}
"""Files with these endings (in any case) are taken for sound."""

_RUN_IN = 0.5
"""Seconds decoded before a window: lossy codecs need a few frames until they are right."""

_HOLE = 0.020
"""Seconds by which a frame's time may differ from the end of the one before: files round times."""

_MARGIN = 0.050
"""Seconds on each side that resampling needs so as not to notice the cut."""


@dataclass(frozen=True)
class AudioHeader:
    """What a header says of the sound.

    Attributes:
        rate: samples a second.
        channels: as stored.
        seconds: when it ends.
        codec: FFmpeg's or libsndfile's name for it.
    """

    rate: int
    channels: int
    seconds: float
    codec: str


def open_audio(path: str, container: Container | None = None) -> Stream:
    """The sound of a file: by libsndfile where its ending and its content allow, else by FFmpeg.

    Args:
        path: of a file of sound or of a video.
        container: the same file where it is open already.

    Raises:
        Unreadable: no such file, or no sound in it.
        UsageError: a package is missing.
    """
    if container is not None:
        return Audio(container)
    if path.lower().endswith(tuple(PLAIN_SUFFIXES)):
        soundfile = needed("soundfile", "audio")
        try:
            return Sound(path, soundfile.SoundFile(path))
        except (OSError, soundfile.SoundFileError):
            pass  # FFmpeg knows more, and says why where it does not either
    return Audio(Container(path, extra="audio"))


class Audio:
    """A stream of sound decoded by FFmpeg; windows of it are [S] float32 in [-1, 1].

    Mono: the mean of the channels. Sample k of a window is of its time on the clock that the
    file's pictures go by; where the file has no sound, and after its end, there are zeros.

    Attributes:
        header: read when the file is opened.
        span: in seconds.
    """

    def __init__(self, container: Container) -> None:
        """Read the header; nothing is decoded.

        Raises:
            Unreadable: no sound, or of unknown length.
        """
        self._container = container
        with reasons(container.path):
            self._stream = container.audio()
            context = self._stream.codec_context
            end, _ = container.end(self._stream)
            self.header = AudioHeader(context.sample_rate, context.channels, end, context.name)
        self.span = self.header.seconds

    def read(self, window: Window = WHOLE) -> Wave:
        """[S] float32: resampled to `window.count` samples, or as stored.

        Raises:
            Unreadable: broken, cut off, or without sound.
        """
        with reasons(self._container.path):
            return cut(self._stored, window, rate=self.header.rate, span=self.span)

    def _stored(self, first: int, last: int) -> Wave:
        """[last - first] at the file's own rate; sample 0 is of time 0."""
        rate = self.header.rate
        times: list[float] = []
        parts: list[Wave] = []
        start = max(0.0, first / rate - _RUN_IN)
        for time, frame in self._container.frames(self._stream, start=start):
            if frame.sample_rate != rate:
                raise ValueError(f"its rate changes from {rate} to {frame.sample_rate} samples/s")
            times.append(time)
            parts.append(_mono(frame))
            if time >= last / rate + _HOLE:
                break
        else:
            if not parts:
                raise ValueError("it has no sound")
            end = times[-1] + len(parts[-1]) / rate
            self._container.whole(self._stream, last=end, stop=last / rate)
        out = np.zeros(last - first, dtype=np.float32)
        for begin, wave in _runs(times, parts, rate):
            low, high = max(begin, first), min(begin + len(wave), last)
            if low < high:
                out[low - first : high - first] = wave[low - begin : high - begin]
        return out


class Sound:
    """A file of sound read by libsndfile; windows of it are as those of `Audio`.

    Attributes:
        header: read when the file is opened.
        span: in seconds.
    """

    def __init__(self, path: str, opened: Any) -> None:
        """Read the header of an opened soundfile.SoundFile."""
        self._path = path
        self._file = opened
        self.header = AudioHeader(
            opened.samplerate, opened.channels, opened.frames / opened.samplerate, opened.subtype
        )
        self.span = self.header.seconds

    def __del__(self) -> None:
        self._file.close()

    def read(self, window: Window = WHOLE) -> Wave:
        """[S] float32: resampled to `window.count` samples, or as stored.

        Raises:
            Unreadable: broken, cut off, or without sound.
        """
        with reasons(self._path):
            if not self._file.frames:
                raise ValueError("it has no sound")
            return cut(self._stored, window, rate=self.header.rate, span=self.span)

    def _stored(self, first: int, last: int) -> Wave:
        out = np.zeros(last - first, dtype=np.float32)
        low, high = max(first, 0), min(last, self._file.frames)
        if low < high:
            self._file.seek(low)
            wave = self._file.read(high - low, dtype="float32", always_2d=True).mean(axis=1)
            if len(wave) < high - low:
                ends = (low + len(wave)) / self.header.rate
                raise ValueError(f"it ends at {ends:.2f} s, its header says {self.span:.2f} s")
            out[low - first : high - first] = wave
        return out


def cut(stored: Callable[[int, int], Wave], window: Window, *, rate: int, span: float) -> Wave:
    """A window of sound, resampled by soxr's "HQ" (20 bits) where its rate is not the file's.

    Begins at the stored sample that is nearest to `window.start`. More than the window is resampled
    and then cut off, so that a piece equals that piece of the whole.

    Args:
        stored: the samples [first, last) at the file's own rate; zeros where there are none.
        window: what is wanted.
        rate: the file's, in samples a second.
        span: of the file, in seconds.
    """
    first = round(window.start * rate)
    if not window.count:
        return stored(first, max(first, round(min(window.stop, span) * rate)))
    wanted = window.count / (window.stop - window.start)
    whole = round(wanted)
    if math.isclose(wanted, whole, rel_tol=1e-9):
        wanted = whole
    if wanted == rate:
        return stored(first, first + window.count)
    # As much of both rates as lasts equally long in whole samples, where there is such a thing.
    step = rate // math.gcd(rate, whole)
    margin = -(-math.ceil(_MARGIN * rate) // step) * step
    lead = round(margin * wanted / rate)
    last = first + math.ceil(window.count * rate / wanted)
    wave = stored(first - margin, last + margin)
    soxr = needed("soxr", "audio")
    made = soxr.resample(wave, rate, wanted, quality="HQ")[lead : lead + window.count]
    return np.ascontiguousarray(made, dtype=np.float32)


def _mono(frame: "AudioFrame") -> Wave:
    """[samples]: the mean of the channels, full scale at 1."""
    stored = frame.to_ndarray()
    if not frame.format.is_planar:
        stored = stored.reshape(-1, len(frame.layout.channels)).T
    x = stored.astype(np.float32)
    if stored.dtype == np.uint8:
        x = (x - 128) / 128
    elif stored.dtype.kind == "i":
        x /= 2.0 ** (8 * stored.dtype.itemsize - 1)
    return x.mean(axis=0)


def _runs(times: list[float], parts: list[Wave], rate: int) -> list[tuple[int, Wave]]:
    """(first sample, wave) of each stretch without a hole.

    A stretch begins where most of its frames say that it does: their times may be rounded (to
    milliseconds in Matroska), their lengths never are.
    """
    runs: list[tuple[int, Wave]] = []
    begin = 0
    for k in range(1, len(parts) + 1):
        if k < len(parts) and abs(times[k] - times[k - 1] - len(parts[k - 1]) / rate) < _HOLE:
            continue
        lengths = np.cumsum([0] + [len(part) for part in parts[begin : k - 1]])
        at = float(np.median(np.array(times[begin:k]) * rate - lengths))
        runs.append((round(at), np.concatenate(parts[begin:k])))
        begin = k
    return runs
