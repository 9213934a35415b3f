"""The sound of evaluation: always the same pieces, nothing random."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from manyviews.core.inputs import Frames, Input, LogMel
from manyviews.core.sample import Layout, Window
from manyviews.views.audio.sounds import check_rows, fed_sound, offset_cue, offsets
from manyviews.views.video.plain import spread


@dataclass(frozen=True, kw_only=True)
class PlainSounds:
    """The sound of plain clips, or `count` pieces spread evenly over a sound.

    Around clips, piece v has its middle where that of clip v is, and lies inside the sound where it
    fits; its cue "offset" says how much later it begins. Around nothing, pieces are spread as
    `PlainClips` are.

    Attributes:
        to: the encoder that they are made for.
        of: the stream.
        count: pieces of each sound; as many as there are clips, where cut around some.
        around: family of the clips, "" for sound alone.
        beside: what the clips' encoder is fed; see `views.by_input.PLAIN`.
        averaged: likewise.
    """

    beside: ClassVar[type[Input]] = Frames
    averaged: ClassVar[tuple[str, ...]] = ("clips",)
    to: str = "audio"
    of: str = "audio"
    count: int = 1
    around: str = "video"

    def maker(
        self, name: str, input: Input, grid: tuple[int, ...], *, seed: int
    ) -> "PlainSoundMaker":
        """What makes the pieces. Raises UsageError where the encoder is not fed sound."""
        return PlainSoundMaker(self, name, fed_sound(name, self.to, input))


class PlainSoundMaker:
    """Makes plain pieces: [V, S] float32, waves."""

    def __init__(self, sounds: PlainSounds, name: str, input: LogMel) -> None:
        """Keep the numbers."""
        self.layout = Layout(sounds.count, (input.samples,), np.dtype(np.float32))
        self.cues = offset_cue(sounds.count, sounds.around)
        self._around = sounds.around
        self._name = name
        self._input = input

    def windows(
        self, index: int, epoch: int, span: float, around: Sequence[Window] = ()
    ) -> list[Window]:
        """One window a piece. Raises UsageError where there are not as many clips as pieces."""
        check_rows(self._name, self._around, self.layout.count, around)
        seconds, samples = self._input.seconds, self._input.samples
        room = max(0.0, span - seconds)
        if around:
            middles = [(clip.start + clip.stop) / 2 for clip in around]
            starts = [min(max(0.0, middle - seconds / 2), room) for middle in middles]
        else:
            starts = spread(self.layout.count, room)
        return [Window(start, start + seconds, samples) for start in starts]

    def __call__(
        self,
        decoded: Sequence[NDArray[np.float32]],
        windows: Sequence[Window],
        index: int,
        epoch: int,
        out: NDArray[np.float32],
        around: Sequence[Window] = (),
    ) -> Mapping[str, NDArray[Any]]:
        """Fill out [V, S] with V waves [S]; return their offsets."""
        for row, wave in zip(out, decoded, strict=True):
            row[...] = wave
        return offsets(windows, around)
