"""Random pieces of sound, alone or around the clips of a video."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyviews.core import UsageError
from manyviews.core.inputs import Input, LogMel
from manyviews.core.ranges import Count, Decaying, NotNegative
from manyviews.core.sample import Floats, Layout, Window
from manyviews.views.draw import family, streams, unit

_START, _GAIN = 64, 65
"""Elements of a view's stream of random numbers."""


@dataclass(frozen=True, kw_only=True)
class Sounds:
    """A family of `count` pieces of each sound, as long as their encoder is fed (`LogMel`).

    Around a family of clips, piece v begins uniformly within `offset` seconds of the start of clip
    v, and inside the sound: where a whole piece does not fit, as near to that as it does. How much
    later it begins than its clip is the cue "offset", [V] float32 in seconds. Around nothing, a
    piece begins uniformly anywhere that it fits. Shorter sounds are followed by silence.

    `gain` 0.1 is AVID's; AVID draws the sound first and then a clip within half a second of it,
    anywhere along it (facebookresearch/AVID-CMA, datasets/video_db.py, _sample_snippet).

    Attributes:
        to: the encoder that they are made for.
        of: the stream.
        count: pieces of each sound; as many as there are clips, where cut around some.
        around: family of the clips, "" for sound alone.
        offset: seconds.
        gain: factor on the wave in [1-g, 1+g], drawn uniformly for each piece.
    """

    to: str = "audio"
    of: str = "audio"
    count: Count = 1
    around: str = "video"
    offset: NotNegative = 0.5
    gain: Decaying = 0.1

    def maker(self, name: str, input: Input, grid: tuple[int, ...], *, seed: int) -> "SoundMaker":
        """What makes the pieces. Raises UsageError where the encoder is not fed sound."""
        return SoundMaker(self, name, fed_sound(name, self.to, input), seed=seed)


class SoundMaker:
    """Makes the pieces of one family: [V, S] float32, waves."""

    def __init__(self, sounds: Sounds, name: str, input: LogMel, *, seed: int) -> None:
        """Keep the plan."""
        self.layout = Layout(sounds.count, (input.samples,), np.dtype(np.float32))
        self.cues = offset_cue(sounds.count, sounds.around)
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
        seconds, offset = self._input.seconds, self._sounds.offset
        room = max(0.0, span - seconds)
        if around:
            clips = np.array([window.start for window in around])
            low, high = (np.clip(clips + by, 0.0, room) for by in (-offset, offset))
        else:
            low, high = np.zeros(self.layout.count), np.full(self.layout.count, room)
        starts = low + (high - low) * self._draw(index, epoch, _START)
        samples = self._input.samples
        return [Window(start, start + seconds, samples) for start in starts.tolist()]

    def __call__(
        self,
        decoded: Sequence[NDArray[np.float32]],
        windows: Sequence[Window],
        index: int,
        epoch: int,
        out: NDArray[np.float32],
        around: Sequence[Window] = (),
    ) -> Mapping[str, NDArray[Any]]:
        """Fill out [V, S] with V waves [S], louder or softer; return their offsets."""
        gain = 1 + self._sounds.gain * (2 * self._draw(index, epoch, _GAIN) - 1)
        for row, wave, factor in zip(out, decoded, gain.astype(np.float32), strict=True):
            np.multiply(wave, factor, out=row)
        return offsets(windows, around)

    def _draw(self, index: int, epoch: int, slot: int) -> Floats:
        states = streams(
            seed=self._seed,
            epoch=epoch,
            family=self._family,
            index=np.array([index]),
            count=self.layout.count,
        )
        return unit(states, slot)[0]


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
