"""Random pieces of sound, alone or around the clips of a video."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from manyviews.core import UsageError
from manyviews.core.inputs import Input, LogMel
from manyviews.core.ranges import Count, Decaying, NotNegative, Probability, Range
from manyviews.core.sample import Floats, Layout, Window
from manyviews.views.audio import spectra
from manyviews.views.audio.reverb import convolved, response
from manyviews.views.draw import Words, family, streams, unit
from manyviews.views.draw import words as random_words
from manyviews.views.masks import Masks
from manyviews.views.plan import Mask

_START, _GAIN, _SPEED, _ROLL, _SHIFT, _NOISE, _LEVEL, _PARTNER = range(64, 72)
"""Elements of a view's stream of random numbers; those of `spectra` come behind them."""
_REVERB, _DECAY = 1 << 12, (1 << 12) + 1
_HISS, _ECHO = 1 << 16, 1 << 40
"""From here on are those of noise, and of echoes."""

Apart = Annotated[float, Range("0 or more seconds, or -1 for none", 0, off=-1)]
Canvas = Annotated[float, Range("1 or more", 1)]


@dataclass(frozen=True, kw_only=True)
class Sounds:
    """A family of `count` pieces of each sound, as long as their encoder is fed (`LogMel`).

    Around a family of clips, piece v begins uniformly within `offset` seconds of the start of clip
    v, or of `lead` seconds before that, and inside the sound: where a whole piece does not fit, as
    near to that as it does. How much later it begins than its clip is the cue "offset", [V] float32
    in seconds. Around nothing, a piece begins uniformly anywhere that it fits. Shorter sounds are
    followed by silence.

    Operations run in this order: speed, gain, roll, reverb and noise on the wave; on the
    spectrogram mixing, window and masks. Their defaults, but for `gain`, leave a piece as it is.

    `gain` 0.1 is AVID's; AVID draws the sound first and then a clip within half a second of it,
    anywhere along it (facebookresearch/AVID-CMA, datasets/video_db.py, _sample_snippet).

    Attributes:
        to: the encoder that they are made for.
        of: the stream.
        count: pieces of each sound; as many as there are clips, where cut around some.
        around: family of the clips, "" for sound alone.
        offset: seconds.
        lead: seconds; half of what a piece lasts has its middle where its clip begins.
        apart: a piece instead lies beside its clip, before or after it, at least so many seconds
            away; anywhere there uniformly, or where there is no room as far as it goes. -1: not.
        gain: factor on the wave in [1-g, 1+g], drawn uniformly for each piece.
        speed: a piece is played s times as fast, and sounds as much higher, by resampling; s is
            log-uniform in [1/(1+x), 1+x].
        roll: probability that the wave is turned around its end, by a uniform share of it.
        reverb: probability of the echoes of a room, by convolution with noise that dies away; the
            piece keeps its energy and begins when it did (`views.audio.reverb`).
        decay: seconds in which echoes fall by 60 decibels (RT60), drawn uniformly.
        noise: probability of white noise.
        snr: decibels of the wave above the noise, drawn uniformly.
        mix: the most of another sample's piece that is mixed in, as a share of power, drawn
            uniformly from 0: what view v of that sample would be by itself. Any other sample.
        crop_time: frames of a window of the spectrogram as a share of its own, drawn uniformly;
            the window is then brought back to the spectrogram's size.
        crop_bands: its mel bands, likewise, at most all of them.
        canvas: frames that windows are cut from, in spectrograms: around one, the data's mean.
        mask_time: the most frames that are masked in one piece, as a share.
        mask_bands: the most mel bands, likewise.
        mask: tokens to hide, given to the method as the cue "FAMILY.mask".
    """

    to: str = "audio"
    of: str = "audio"
    count: Count = 1
    around: str = "video"
    offset: NotNegative = 0.5
    lead: NotNegative = 0.0
    apart: Apart = -1.0
    gain: Decaying = 0.1
    speed: NotNegative = 0.0
    roll: Probability = 0.0
    reverb: Probability = 0.0
    decay: tuple[float, float] = (0.1, 0.8)
    noise: Probability = 0.0
    snr: tuple[float, float] = (5.0, 40.0)
    mix: Decaying = 0.0
    crop_time: tuple[float, float] = (1.0, 1.0)
    crop_bands: tuple[float, float] = (1.0, 1.0)
    canvas: Canvas = 1.5
    mask_time: Decaying = 0.0
    mask_bands: Decaying = 0.0
    mask: Mask = field(default_factory=Mask)

    def wrong(self) -> Iterator[tuple[str, object, str]]:
        """Pairs out of order, and a mixture of what is cut around something else."""
        for name, pair in (("crop_time", self.crop_time), ("crop_bands", self.crop_bands)):
            if not 0 < pair[0] <= pair[1]:
                yield name, pair, "shares with 0 < low <= high"
        if not 0 < self.decay[0] <= self.decay[1]:
            yield "decay", self.decay, "seconds with 0 < low <= high"
        if self.snr[0] > self.snr[1]:
            yield "snr", self.snr, "decibels with low <= high"
        if self.mix and self.around:
            wanted = f"0, since its pieces are cut around {self.around!r}; or no --views.*.around"
            yield "mix", self.mix, wanted

    def alone(self) -> "Sounds":
        """Unmasked, cut around nothing."""
        return replace(self, around="", mask=Mask())

    def maker(self, name: str, input: Input, grid: tuple[int, ...], *, seed: int) -> "SoundMaker":
        """What makes the pieces. Raises UsageError where the encoder is not fed sound."""
        return SoundMaker(self, name, fed_sound(name, self.to, input), grid, seed=seed)


class SoundMaker:
    """Makes the pieces of one family: [V, S] float32, waves, or [V, 2, S] with those to mix in."""

    def __init__(
        self, sounds: Sounds, name: str, input: LogMel, grid: tuple[int, ...], *, seed: int
    ) -> None:
        """Keep the plan; see `Sounds.maker`."""
        samples = (input.samples,)
        shape = (2, *samples) if sounds.mix else samples
        self.layout = Layout(sounds.count, shape, np.dtype(np.float32))
        self._masks = Masks(sounds.mask, name, grid, count=sounds.count, seed=seed)
        self._plan = spectra.Bending(
            frames=input.shape[1],
            bins=input.bins,
            mix=sounds.mix,
            crop_time=sounds.crop_time,
            crop_bands=sounds.crop_bands,
            canvas=sounds.canvas,
            mask_time=sounds.mask_time,
            mask_bands=sounds.mask_bands,
        )
        self.cues = {**offset_cue(sounds.count, sounds.around), **self._masks.cues}
        if self._plan.changes:
            numbers = Layout(sounds.count, (spectra.COLUMNS,), np.dtype(np.float32))
            self.cues = {**self.cues, "spectrum": numbers}
        self._sounds = sounds
        self._name = name
        self._input = input
        self._seed = seed
        self._family = family(name)

    def windows(
        self, index: int, epoch: int, span: float, around: Sequence[Window] = ()
    ) -> list[Window]:
        """One window a piece. Raises UsageError where there are not as many clips as pieces."""
        check_rows(self._name, self._sounds.around, self.layout.count, around)
        offset, states = self._sounds.offset, self._states(index, epoch)
        fastest = np.log1p(self._sounds.speed)
        lasts = self._input.seconds * np.exp((2 * unit(states, _SPEED) - 1) * fastest)
        room = np.maximum(0.0, span - lasts)
        if around and self._sounds.apart >= 0:
            starts = beside(around, lasts, room, unit(states, _START), apart=self._sounds.apart)
        elif around:
            clips = np.array([window.start for window in around]) - self._sounds.lead
            low, high = (np.clip(clips + by, 0.0, room) for by in (-offset, offset))
            starts = low + (high - low) * unit(states, _START)
        else:
            starts = room * unit(states, _START)
        pairs = zip(starts.tolist(), lasts.tolist(), strict=True)
        return [Window(start, start + length, self._input.samples) for start, length in pairs]

    @property
    def mixes(self) -> bool:
        """Whether pieces of other samples are mixed in."""
        return self._sounds.mix > 0

    def partners(self, index: int, epoch: int, samples: int) -> Sequence[int]:
        """Another sample for each piece; the same where there is no other."""
        steps = 1 + np.floor(unit(self._states(index, epoch), _PARTNER) * max(1, samples - 1))
        return [(index + int(step)) % samples for step in steps]

    def __call__(
        self,
        decoded: Sequence[NDArray[np.float32]],
        windows: Sequence[Window],
        index: int,
        epoch: int,
        out: NDArray[np.float32],
        around: Sequence[Window] = (),
    ) -> Mapping[str, NDArray[Any]]:
        """Fill out [V, S] or [V, 2, S] with V waves [S] and as many of partners; return cues."""
        states, count = self._states(index, epoch), self.layout.count
        gain = 1 + self._sounds.gain * (2 * unit(states, _GAIN) - 1)
        own = out[:, 0] if self._sounds.mix else out
        for view, row in enumerate(own):
            np.multiply(decoded[view], np.float32(gain[view]), out=row)
            self._roll(row, states[view])
            self._echo(row, states[view])
            self._hiss(row, states[view])
        if self._sounds.mix:
            partners = decoded[count:] or decoded
            for row, wave in zip(out[:, 1], partners, strict=True):
                row[...] = wave
        found: dict[str, NDArray[Any]] = dict(offsets(windows, around))
        masked = self._masks(np.array([index], dtype=np.int64), epoch)
        found |= {cue: made[0] for cue, made in masked.items()}
        if self._plan.changes:
            found["spectrum"] = spectra.drawn(states, self._plan)
        return found

    def late(self, made: Tensor, cues: Mapping[str, Tensor]) -> Tensor:
        """[B, V, 1, F, bins]: what is done to spectrograms [B, V, 1, F, bins], or two of each."""
        if not self._plan.changes:
            return made
        return spectra.changed(made, cues["spectrum"], self._plan, std=self._input.std)

    def _roll(self, row: NDArray[np.float32], state: Words) -> None:
        if unit(state, _ROLL) < self._sounds.roll:
            row[...] = np.roll(row, int(unit(state, _SHIFT) * len(row)))

    def _echo(self, row: NDArray[np.float32], state: Words) -> None:
        """Put the piece into a room, in place."""
        if unit(state, _REVERB) < self._sounds.reverb:
            low, high = self._sounds.decay
            decay, rate = low + (high - low) * unit(state, _DECAY), self._input.rate
            length = min(len(row), 1 + math.ceil(decay * rate))
            noise = normal(state, length, at=_ECHO)
            row[...] = convolved(row, response(noise, rate=rate, decay=float(decay)))

    def _hiss(self, row: NDArray[np.float32], state: Words) -> None:
        """Add white noise in place; silence stays silent."""
        if unit(state, _NOISE) < self._sounds.noise:
            low, high = self._sounds.snr
            below = 10 ** (-(low + (high - low) * unit(state, _LEVEL)) / 20)
            level = np.sqrt(np.square(row, dtype=np.float64).mean()) * below
            row += (level * normal(state, len(row))).astype(np.float32)

    def _states(self, index: int, epoch: int) -> Words:
        """[V]: a stream of random numbers for each piece."""
        return streams(
            seed=self._seed,
            epoch=epoch,
            family=self._family,
            index=np.array([index]),
            count=self.layout.count,
        )[0]


def beside(
    around: Sequence[Window], lasts: Floats, room: Floats, u: Floats, *, apart: float
) -> Floats:
    """Where pieces begin that lie before or after others, [V] in seconds.

    Args:
        around: the others.
        lasts: [V] seconds of each piece.
        room: [V], the latest that each may begin.
        u: [V] in [0, 1), which of the places there are.
        apart: seconds between them, at least.
    """
    start, stop = (np.array([getattr(w, end) for w in around]) for end in ("start", "stop"))
    before = np.maximum(0.0, start - apart - lasts)
    after = np.maximum(0.0, room - stop - apart)
    at = u * (before + after)
    chosen = np.where(at < before, at, stop + apart + at - before)
    farthest = np.where(start >= room + lasts - stop, 0.0, room)
    return np.where(before + after > 0, np.minimum(chosen, room), farthest)


def normal(state: Words, count: int, *, at: int = _HISS) -> NDArray[np.float64]:
    """[count] standard normal numbers of one stream (Box and Muller 1958).

    Args:
        state: of the stream.
        count: how many.
        at: the first element of the stream that they are made of.
    """
    pairs = (count + 1) // 2
    drawn = random_words(state, np.arange(2 * pairs, dtype=np.uint64) + np.uint64(at))
    u = ((drawn >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    radius, angle = np.sqrt(-2 * np.log(u[:pairs])), 2 * np.pi * u[pairs:]
    return np.concatenate((radius * np.cos(angle), radius * np.sin(angle)))[:count]


def fed_sound(name: str, to: str, input: Input) -> LogMel:
    """The input of an encoder, if it is fed sound.

    Raises:
        UsageError: it is not.
    """
    if isinstance(input, LogMel):
        return input
    message = (
        f"The family {name!r} makes pieces of sound, but the encoder {to!r} is fed "
        f"{type(input).__name__}. Make it for an encoder of sound."
    )
    raise UsageError(message)


def check_rows(name: str, other: str, count: int, around: Sequence[Window]) -> None:
    """Refuse pieces that do not match the clips that they are cut around, one to one.

    Raises:
        UsageError: there are more or fewer.
    """
    wanted = count if other else 0
    if len(around) != wanted:
        message = (
            f"The family {name!r} cuts {count} pieces around {other!r}, which has {len(around)}. "
            f"Set --views.{name}.count {len(around)}."
        )
        raise UsageError(message)


def offset_cue(count: int, around: str) -> Mapping[str, Layout]:
    """The layout of the cue "offset" of pieces cut around something."""
    return {"offset": Layout(count, (), np.dtype(np.float32))} if around else {}


def offsets(windows: Sequence[Window], around: Sequence[Window]) -> Mapping[str, NDArray[Any]]:
    """Seconds by which each piece begins later than its clip, as a cue; no cue without clips."""
    if not around:
        return {}
    later = [own.start - other.start for own, other in zip(windows, around, strict=True)]
    return {"offset": np.array(later, dtype=np.float32)}
