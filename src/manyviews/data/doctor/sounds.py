"""What is better known of sounds before training than during it."""

import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from manyviews.core.nouns import noun_of
from manyviews.core.sample import Unreadable
from manyviews.data.doctor.findings import (
    SHOWN,
    Findings,
    copies,
    counts,
    examined,
    length,
    spread,
    tally,
)
from manyviews.data.doctor.looks import looks
from manyviews.data.duplicates import Print, print_of
from manyviews.data.sources import Media
from manyviews.data.streams.audio import Heard, Wave

_BLOCK = 30.0
"""Seconds that are read at once."""
_SILENT = -80.0
"""Decibels below full scale; a file whose loudest sample is below that is silent."""
_FULL, _IN_A_ROW = 0.999, 3
"""Of full scale: so many samples in a row at it are clipped."""
_BESIDE = 0.02
"""Of full scale: a file whose mean is farther from zero is beside zero."""
_CANCELLED = 0.1
"""Of the channels' level: what the mean of channels that cancel out falls below."""
_COLUMNS, _BANDS, _RANGE = 32, 24, 60.0
"""Of the picture that near-duplicates are found by: its size, and its range in decibels."""
_LOWEST = 60.0
"""Hertz; below it is hum."""

Flaw = str
FLAWS: Mapping[Flaw, str] = {
    "silent": "silent (never above -80 dB): they teach nothing; leave them out",
    "clipped": "clipped (3 or more samples in a row at full scale): kept as they are",
    "loud": "beyond full scale, as only floats can be: kept as they are",
    "beside zero": "with a mean beyond 2 % of full scale: log-mel spectrograms take it off",
    "cancelling": "of channels that cancel out, so that little is left of their mean",
}
"""What is told of files that can be read -> in words."""


@dataclass(frozen=True, kw_only=True)
class SoundReport(Findings):
    """What `doctor` found in sounds, all of them read from beginning to end.

    Attributes:
        seconds: shortest, median and longest.
        hours: all together.
        rates, channels, codecs: as the headers say -> files.
        levels: lowest, median and highest root mean square of a file in decibels of full scale,
            of those that are not silent.
        clipped: share of all samples that are clipped: at full scale, 3 or more in a row.
        flaws: one of `FLAWS` -> files that have it.
        flawed: one of `FLAWS` -> names of the first files that have it.
        exact_duplicates: files with the bytes of an earlier one.
        near_duplicates: other files that sound nearly like an earlier one, louder or softer,
            in another format or at another rate.
        same: some of the exact ones, each with the earlier one.
        pairs: some of the near ones, likewise.
    """

    seconds: tuple[float, float, float]
    hours: float
    rates: Mapping[str, int]
    channels: Mapping[str, int]
    codecs: Mapping[str, int]
    levels: tuple[float, float, float]
    clipped: float
    flaws: Mapping[Flaw, int]
    flawed: Mapping[Flaw, tuple[str, ...]]
    exact_duplicates: int
    near_duplicates: int
    same: tuple[tuple[str, str], ...]
    pairs: tuple[tuple[str, str], ...]

    def lines(self) -> list[str]:
        """The report for people, a finding a line."""
        lines = self.heading(noun_of(["audio"]))
        if not self.readable:
            return lines
        short, middle, long = self.seconds
        lines += [
            f"seconds: shortest {short:.3g}, median {middle:.3g}, longest {long:.3g}; "
            f"{length(self.hours)} in all",
            f"samples a second: {counts(self.rates)}",
            f"channels: {counts(self.channels)} (their mean is taken)",
            f"stored as: {counts(self.codecs)}",
            "level in dB of full scale: lowest {:.1f}, median {:.1f}, highest {:.1f}".format(
                *self.levels
            ),
            f"clipped: {self.clipped:.3%} of all samples",
        ]
        for flaw, count in self.flaws.items():
            if count:
                lines.append(f"{count:,} {FLAWS[flaw]}")
                lines += [f"  {name}" for name in self.flawed[flaw]]
        lines.append(
            f"exact duplicates: {self.exact_duplicates:,}; near-duplicates: "
            f"{self.near_duplicates:,}"
        )
        lines += [f"  {later} is the same as {first}" for later, first in self.same]
        return lines + [f"  {later} sounds like {first}" for later, first in self.pairs]


@dataclass(frozen=True)
class _Listened:
    """What one file gives to the report; `reason` is set for an unreadable one alone."""

    reason: str = ""
    seconds: float = 0.0
    rate: int = 0
    channels: int = 0
    codec: str = ""
    level: float = -math.inf
    samples: int = 0
    clipped: int = 0
    flaws: tuple[Flaw, ...] = ()
    content: bytes = b""
    sounds: Print | None = None


def sound_doctor(
    spec: str, *, max_bad: float = 0.01, workers: int = -1, sample: int = 0
) -> SoundReport:
    """Read sounds from beginning to end and report on them, with a progress bar.

    Args:
        spec: as for `open_media`.
        max_bad: as in training.
        workers: decoding processes; -1 chooses.
        sample: examine only this many, evenly spread; 0 examines all.

    Raises:
        UsageError: there is no such data.
    """
    source, found = looks(spec, ("audio",), _listen, workers=workers, sample=sample)
    read = [(source.name(index), look) for index, look in found.items() if not look.reason]
    heard = [look for _, look in read]
    flawed = {flaw: [name for name, look in read if flaw in look.flaws] for flaw in FLAWS}
    return SoundReport(
        **examined(spec, source, found, ignored=source.manifest.ignored, max_bad=max_bad),
        seconds=spread([look.seconds for look in heard]),
        hours=sum(look.seconds for look in heard) / 3600,
        rates=tally(f"{look.rate}" for look in heard),
        channels=tally(f"{look.channels}" for look in heard),
        codecs=tally(look.codec for look in heard),
        levels=spread([look.level for look in heard if "silent" not in look.flaws]),
        clipped=sum(look.clipped for look in heard) / max(1, sum(look.samples for look in heard)),
        flaws={flaw: len(names) for flaw, names in flawed.items()},
        flawed={flaw: tuple(names[:SHOWN]) for flaw, names in flawed.items()},
        **copies((name, look.content, look.sounds) for name, look in read),
    )


def _listen(source: Media, index: int) -> _Listened:
    """Runs in workers."""
    name = source.name(index)
    try:
        sound = cast(Heard, source.open(index)["audio"])
        found = _Levels(sound.header.rate)
        for block in _blocks(sound):
            found.add(block)
        with Path(name).open("rb") as file:
            content = hashlib.file_digest(file, "blake2b").digest()
    except Unreadable as error:
        return _Listened(reason=error.reason)
    except OSError as error:
        return _Listened(reason=error.strerror or str(error))
    header = sound.header
    return _Listened(
        seconds=sound.span,
        rate=header.rate,
        channels=header.channels,
        codec=header.codec,
        level=found.level,
        samples=found.samples,
        clipped=found.clipped,
        flaws=found.flaws(),
        content=content,
        sounds=None if "silent" in found.flaws() else found.print(),
    )


def _blocks(sound: Heard) -> Iterator[Wave]:
    """[C, S] one after the other, to the end; a last one of a few samples goes with the one before.

    Raises:
        Unreadable: broken, or cut off.
    """
    edges = [*np.arange(0.0, max(sound.span - 1.0, 0.1), _BLOCK).tolist(), sound.span]
    for start, stop in itertools.pairwise(edges):
        yield sound.channels(start, stop)


class _Levels:
    """What is added up over the blocks of a file."""

    def __init__(self, rate: int) -> None:
        self.samples = self.clipped = self._frames = 0
        self._rate = rate
        self._peak = self._mono_squares = self._squares = 0.0
        self._sum: NDArray[np.float64] = np.zeros(1)
        self._pictures: list[NDArray[np.float64]] = []

    def add(self, wave: Wave) -> None:
        """A block, [C, S]."""
        mono = wave.mean(axis=0)
        self.samples += wave.size
        self._frames += wave.shape[1]
        self._peak = max(self._peak, float(np.abs(wave).max()))
        self._sum = self._sum + wave.sum(axis=1, dtype=np.float64)
        self._squares += float(np.square(wave, dtype=np.float64).mean(axis=0).sum())
        self._mono_squares += float(np.square(mono, dtype=np.float64).sum())
        self.clipped += _in_a_row(np.abs(wave) >= _FULL)
        self._pictures.append(_spectrogram(mono, self._rate))

    @property
    def level(self) -> float:
        """Root mean square over all channels, in decibels of full scale."""
        return _decibels(math.sqrt(self._squares / self._frames))

    def flaws(self) -> tuple[Flaw, ...]:
        """Those of `FLAWS` that the file has."""
        mono, all = math.sqrt(self._mono_squares), math.sqrt(self._squares)
        silent = _decibels(self._peak) < _SILENT
        told = {
            "silent": silent,
            "clipped": self.clipped > 0,
            "loud": self._peak > 1.01,
            "beside zero": float(np.abs(self._sum).max()) / self._frames > _BESIDE,
            "cancelling": not silent and mono < _CANCELLED * all,
        }
        return tuple(flaw for flaw in FLAWS if told[flaw])

    def print(self) -> Print:
        """Of a picture of the spectrogram: bands up, time to the right, the peak white."""
        power = np.concatenate(self._pictures, axis=1)
        edges = np.linspace(0, power.shape[1], _COLUMNS + 1)
        columns = [
            power[:, int(a) : max(int(b), int(a) + 1)].mean(axis=1)
            for a, b in itertools.pairwise(edges)
        ]
        level = 10 * np.log10(np.stack(columns, axis=1) + 1e-20)
        shade = np.clip((level - level.max() + _RANGE) / _RANGE, 0, 1)
        return print_of(np.round(255 * shade[::-1, :, None]).astype(np.uint8))


def _in_a_row(full: NDArray[np.bool_]) -> int:
    """How many of [C, S] are in runs of three and more."""
    count = 0
    for row in full:
        edges = np.flatnonzero(np.diff(row, prepend=False, append=False))
        lengths = edges[1::2] - edges[::2]
        count += int(lengths[lengths >= _IN_A_ROW].sum())
    return count


def _spectrogram(mono: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    """[bands, T]: power in bands equally wide in the logarithm of frequency, up to 4 kHz."""
    hop = max(1, round(rate * 0.016))
    width = 4 * hop
    padded = np.pad(mono, (0, max(0, width - len(mono))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, width)[::hop]
    spectrum = np.fft.rfft(frames * np.hanning(width), axis=1)
    power = np.square(np.abs(spectrum)) / width**2
    hertz = np.arange(power.shape[1]) * rate / width
    edges = np.geomspace(_LOWEST, max(4000.0, 2 * _LOWEST), _BANDS + 1)
    rows = [
        power[:, (hertz >= low) & (hertz < high)].sum(axis=1)
        for low, high in itertools.pairwise(edges)
    ]
    return np.stack(rows)


def _decibels(value: float) -> float:
    return 20 * math.log10(max(value, 1e-10))
