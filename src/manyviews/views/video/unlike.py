"""Clips of a video that are blurred and solarised with different probabilities."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from manyviews.core.ranges import Count, Probability
from manyviews.views.plan import Crops
from manyviews.views.video.clips import Clips


@dataclass(frozen=True, kw_only=True)
class UnlikeClips(Clips):
    """Clips, of which each has probabilities of its own.

    The defaults are CVRL's (tensorflow/models official/projects/video_ssl/dataloaders/
    video_ssl_input.py).

    Attributes:
        blurs: probability of Gaussian blur, one for all clips or one for each; in place of `blur`.
        solarize: probability of inverting pixels of 128 and above, likewise.
    """

    count: Count = 2
    blurs: tuple[Probability, ...] = (1.0, 0.1)
    solarize: tuple[Probability, ...] = (0.0, 0.2)

    def wrong(self) -> Iterator[tuple[str, object, str]]:
        """Probabilities that are not one for all clips or one for each, and a blur beside them."""
        yield from super().wrong()
        for name, crops in (
            ("blurs", Crops(count=self.count, blur=self.blurs)),
            ("solarize", Crops(count=self.count, solarize=self.solarize)),
        ):
            yield from ((name, value, wanted) for _, value, wanted in crops.wrong())
        if self.blur:
            yield "blur", self.blur, "0, as each clip has a probability in blurs"

    def crops(self, side: int) -> Crops:
        """As of all clips, but for those."""
        return replace(super().crops(side), blur=self.blurs, solarize=self.solarize)
