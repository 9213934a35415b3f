"""What `see` can be told of the samples that it draws."""

from collections.abc import Iterator
from dataclasses import dataclass

from manyviews.core.ranges import Count, NotNegative, Positive, Seed, Several


@dataclass(frozen=True, kw_only=True)
class Samples:
    """How a small diffusion model is trained on features, and what is drawn from it.

    Attributes:
        side: of the thumbnails that it makes, in pixels; a multiple of 4.
        images: that it is trained on, at most, evenly spread.
        steps: of training, for each kind of features.
        minutes: after which each training ends; 0 for no such end.
        batch_size: images a step.
        width: channels of the model's first level, a multiple of 8; 32 is 1.2 M parameters.
        lr: learning rate.
        each: samples of each image.
        guidance: above 1 samples follow the features more, and differ less.
        seed: of all that is random.
    """

    side: Count = 32
    images: Several = 4096
    steps: Count = 5000
    minutes: NotNegative = 20.0
    batch_size: Count = 64
    width: Count = 32
    lr: Positive = 2e-4
    each: Several = 6
    guidance: Positive = 1.0
    seed: Seed = 0

    def wrong(self) -> Iterator[tuple[str, object, str]]:
        """What numbers have to be that no range alone can say; see `core.settings.check`."""
        if self.side % 4:
            yield "side", self.side, "a multiple of 4"
        if self.width % 8:
            yield "width", self.width, "a multiple of 8"
