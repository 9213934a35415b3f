"""The sound of a file, a window at a time."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from manyviews.core.sample import WHOLE, Stream, Window
from manyviews.data.streams.container import TOLERANCE, Container, needed, reasons
from manyviews.data.streams.riff import stated_frames

if TYPE_CHECKING:
    from av import AudioFrame

Wave = NDArray[np.float32]
"""[S], or [C, S] of channels."""

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

_RATES = (1_000, 1_000_000)
"""Samples a second, from the narrowest telephone to bats; what states another rate lies."""

_SHORTEST = 0.025
"""Seconds, one frame of a spectrogram: what is shorter has none that is its own."""

_LOUDEST = 1e9
"""Of full scale, as far as floats may go: beyond it the power of a frame is no number."""


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


class Heard(Stream, Protocol):
    """A stream of sound, with what its file says of it and its channels one by one."""

    @property
    def header(self) -> AudioHeader:
        """What the header says."""
        ...

    def channels(self, start: float, stop: float) -> Wave:
        """[C, S] float32 from `start` to `stop` in seconds, as stored. Raises `Unreadable`."""
        ...


def open_audio(path: str, container: Container | None = None) -> Heard:
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
    """A stream of sound decoded by FFmpeg; windows of it are [S] float32, full scale at 1.

    Mono: the mean of the channels. Sample k of a window is of its time on the clock that the
    file's pictures go by; where the file has no sound, and after its end, there are zeros.

    What is silent, clipped, beyond full scale or beside zero is sound as well, and read as it is:
    `doctor` counts such files. Unreadable are a file of another rate than 1,000 to 1,000,000
    samples a second or shorter than 25 ms, one that ends well before its header says, where it is
    missing, and one that is not a number, or beyond 1e9, where it is that.

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
            _believable(self.header)
        self.span = self.header.seconds

    def read(self, window: Window = WHOLE) -> Wave:
        """[S] float32: resampled to `window.count` samples, or as stored.

        Raises:
            Unreadable: broken, cut off, or without sound.
        """
        with reasons(self._container.path):
            return cut(self._mono, window, rate=self.header.rate, span=self.span)

    def channels(self, start: float, stop: float) -> Wave:
        """[C, S] float32 from `start` to `stop` in seconds, as stored. Raises `Unreadable`."""
        rate = self.header.rate
        with reasons(self._container.path):
            return self._stored(round(start * rate), round(stop * rate))

    def _mono(self, first: int, last: int) -> Wave:
        return self._stored(first, last).mean(axis=0)

    def _stored(self, first: int, last: int) -> Wave:
        """[C, last - first] at the file's own rate; sample 0 is of time 0."""
        rate = self.header.rate
        times: list[float] = []
        parts: list[Wave] = []
        start = max(0.0, first / rate - _RUN_IN)
        for time, frame in self._container.frames(self._stream, start=start):
            if frame.sample_rate != rate:
                raise ValueError(f"its rate changes from {rate} to {frame.sample_rate} samples/s")
            times.append(time)
            parts.append(_channels(frame))
            if len(parts[-1]) != len(parts[0]):
                raise ValueError(
                    f"its channels change from {len(parts[0])} to {len(parts[-1])} in number"
                )
            if time >= last / rate + _HOLE:
                break
        else:
            if not parts:
                raise ValueError("it has no sound")
            end = times[-1] + parts[-1].shape[1] / rate
            self._container.whole(self._stream, last=end, stop=last / rate)
        out = np.zeros((len(parts[0]), last - first), dtype=np.float32)
        for begin, wave in _runs(times, parts, rate):
            low, high = max(begin, first), min(begin + wave.shape[1], last)
            if low < high:
                out[:, low - first : high - first] = wave[:, low - begin : high - begin]
        return _sane(out, first, rate)


class Sound:
    """A file of sound read by libsndfile; windows of it are as those of `Audio`.

    Attributes:
        header: read when the file is opened.
        span: in seconds.
    """

    def __init__(self, path: str, opened: Any) -> None:
        """Read the header of an opened soundfile.SoundFile. Raises Unreadable."""
        self._path = path
        self._file = opened
        with reasons(path):
            # libsndfile takes what is there for what was meant, if a header claims more.
            frames = max(opened.frames, stated_frames(path))
            rate = opened.samplerate
            self.header = AudioHeader(rate, opened.channels, frames / rate, opened.subtype)
            _believable(self.header)
        self.span = self.header.seconds

    def __del__(self) -> None:
        self._file.close()

    def read(self, window: Window = WHOLE) -> Wave:
        """[S] float32: resampled to `window.count` samples, or as stored.

        Raises:
            Unreadable: broken, cut off, or without sound.
        """
        with reasons(self._path):
            return cut(self._mono, window, rate=self.header.rate, span=self.span)

    def channels(self, start: float, stop: float) -> Wave:
        """[C, S] float32 from `start` to `stop` in seconds, as stored. Raises `Unreadable`."""
        rate = self.header.rate
        with reasons(self._path):
            return self._stored(round(start * rate), round(stop * rate))

    def _mono(self, first: int, last: int) -> Wave:
        return self._stored(first, last).mean(axis=0)

    def _stored(self, first: int, last: int) -> Wave:
        """[C, last - first]; zeros before the file begins and after it ends."""
        rate = self.header.rate
        out = np.zeros((self.header.channels, last - first), dtype=np.float32)
        low, high = max(first, 0), min(last, self._file.frames)
        ends = self._file.frames
        if low < high:
            self._file.seek(low)
            wave = self._file.read(high - low, dtype="float32", always_2d=True).T
            out[:, low - first : low - first + wave.shape[1]] = wave
            ends = low + wave.shape[1] if wave.shape[1] < high - low else ends
        if ends / rate + TOLERANCE < min(last / rate, self.span):
            raise ValueError(
                f"it ends at {ends / rate:.2f} s, its header says {self.span:.2f} s; copy it again"
            )
        return _sane(out, first, rate)


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


def _believable(header: AudioHeader) -> None:
    """Refuse what no sound is like. Raises ValueError."""
    if not header.seconds:
        raise ValueError("it has no sound")
    if not _RATES[0] <= header.rate <= _RATES[1]:
        raise ValueError(f"its header says {header.rate:,} samples a second, which no sound has")
    if header.seconds < _SHORTEST:
        samples = round(header.seconds * header.rate)
        raise ValueError(
            f"its {samples} samples last {header.seconds * 1000:.3g} ms, "
            f"and {_SHORTEST * 1000:g} ms are the least"
        )


def _sane(wave: Wave, first: int, rate: int) -> Wave:
    """The same [C, S], if it is all numbers. Raises ValueError."""
    bad = ~(np.abs(wave) < _LOUDEST)  # also where it is not a number
    if bad.any():
        at = int(np.flatnonzero(bad.any(axis=0))[0])
        value = wave[bad[:, at], at][0]
        raise ValueError(f"it is {value:g} at {(first + at) / rate:.3f} s")
    return wave


def _channels(frame: "AudioFrame") -> Wave:
    """[C, S], full scale at 1."""
    stored = frame.to_ndarray()
    if not frame.format.is_planar:
        stored = stored.reshape(-1, len(frame.layout.channels)).T
    x: Wave = stored.astype(np.float32)
    if stored.dtype == np.uint8:
        x = (x - np.float32(128)) / np.float32(128)
    elif stored.dtype.kind == "i":
        x /= np.float32(2.0 ** (8 * stored.dtype.itemsize - 1))
    return x


def _runs(times: list[float], parts: list[Wave], rate: int) -> list[tuple[int, Wave]]:
    """(first sample, wave [C, S]) of each stretch without a hole.

    A stretch begins where most of its frames say that it does: their times may be rounded (to
    milliseconds in Matroska), their lengths never are.
    """
    runs: list[tuple[int, Wave]] = []
    begin = 0
    for k in range(1, len(parts) + 1):
        if k < len(parts) and abs(times[k] - times[k - 1] - parts[k - 1].shape[1] / rate) < _HOLE:
            continue
        lengths = np.cumsum([0] + [part.shape[1] for part in parts[begin : k - 1]])
        at = float(np.median(np.array(times[begin:k]) * rate - lengths))
        runs.append((round(at), np.concatenate(parts[begin:k], axis=1)))
        begin = k
    return runs
