"""Clips of the time of other clips."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from manyviews.core.inputs import Frames, Input
from manyviews.core.sample import Window
from manyviews.views.audio.sounds import check_rows
from manyviews.views.plan import Mask
from manyviews.views.video.clips import ClipMaker, Clips, fed_frames


@dataclass(frozen=True, kw_only=True)
class BesideClips(Clips):
    """Clips, of which each has its middle where one of another family has it, or as near as it can.

    So two encoders see one time, each at its own rate and for as long as it is fed; crops and
    colours are drawn for each by itself. `within` and `times` say nothing here.

    Attributes:
        around: the other family, of as many clips; "" for clips by themselves.
    """

    around: str = "video"  # pyright: ignore[reportIncompatibleMethodOverride] - of others a property

    def alone(self) -> "BesideClips":
        """Around nothing, unmasked, as large as the encoder is fed."""
        return replace(self, around="", size=0, mask=Mask())

    def maker(self, name: str, input: Input, grid: tuple[int, ...], *, seed: int) -> "BesideMaker":
        """What makes the clips. Raises UsageError where the encoder is not fed video."""
        return BesideMaker(
            self, name, fed_frames(name, self.to, input, flows=True), grid, seed=seed
        )


class BesideMaker(ClipMaker):
    """Makes the clips of one family, of the times of another's."""

    def __init__(
        self, plan: BesideClips, name: str, frames: Frames, grid: tuple[int, ...], *, seed: int
    ) -> None:
        """Keep the plan; see `BesideClips.maker`."""
        super().__init__(plan, name, frames, grid, seed=seed)
        self._name, self._around = name, plan.around

    def windows(
        self, index: int, epoch: int, span: float, around: Sequence[Window] = ()
    ) -> list[Window]:
        """One window a clip. Raises UsageError where there are not as many as of the others."""
        check_rows(self._name, self._around, self.layout.count, around)
        alone = super().windows(index, epoch, span)
        if not self._around:
            return alone
        found: list[Window] = []
        for own, other in zip(alone, around, strict=True):
            length = own.stop - own.start
            start = (other.start + other.stop - length) / 2
            start = min(max(0.0, start), max(0.0, span - length))
            found.append(Window(start, start + length, own.count))
        return found
