"""DrLIM. Hadsell, Chopra and LeCun 2006, Dimensionality reduction by learning an invariant map."""

from collections.abc import Mapping
from dataclasses import dataclass

from manyviews.core import Batch, Clock, Given, Method, Step
from manyviews.core.ranges import Count, Natural, Positive
from manyviews.losses.margin import drlim
from manyviews.parts.branch import together
from manyviews.parts.heads import mlp


@dataclass(frozen=True, kw_only=True)
class DrLIMConfig:
    """The paper maps onto 2 or 3 dimensions; 128 and the head are ours.

    Attributes:
        margin: how far apart different images are to be, and no farther.
        hidden: width of the head's hidden layer; 0 makes it linear.
        out: width of its output, whose length is free.
    """

    margin: Positive = 1.0
    hidden: Natural = 0
    out: Count = 128


class DrLIM(Method):
    """Views of one image attract like springs; others repel within a margin."""

    most: Mapping[str, int] = {"global": 2}

    def __init__(self, given: Given, config: DrLIMConfig) -> None:
        super().__init__(given)
        self.config, self.backbone = config, given.encoder
        sizes = [given.encoder.dim, *[config.hidden] * (config.hidden > 0), config.out]
        self.projector = mlp(sizes)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The contrastive loss of all pairs of views in the global batch."""
        embedding, z = together(self.backbone, self.projector, batch.views["global"][:, :2])
        return Step(
            {"drlim": drlim(z, margin=self.config.margin)},
            embedding=self.embedded(embedding),
            projection=z,
        )
