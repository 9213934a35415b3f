"""Triplets of views with semi-hard negatives. Schroff et al. 2015 (FaceNet), arXiv:1503.03832."""

from collections.abc import Mapping
from dataclasses import dataclass

from manyviews.core import Batch, Clock, Given, Method, Step
from manyviews.core.ranges import Count, Natural, Positive
from manyviews.losses.contrastive import unit
from manyviews.losses.margin import semi_hard_triplet
from manyviews.parts.branch import together
from manyviews.parts.heads import mlp


@dataclass(frozen=True, kw_only=True)
class TripletConfig:
    """Defaults: the paper's margin and width.

    Attributes:
        margin: of squared distances between unit vectors.
        hidden: width of the head's hidden layer; 0 makes it linear.
        out: width of its output.
    """

    margin: Positive = 0.2
    hidden: Natural = 0
    out: Count = 128


class Triplet(Method):
    """A view is nearer to its partner than to the nearest view that is not nearer already."""

    most: Mapping[str, int] = {"global": 2}

    def __init__(self, given: Given, config: TripletConfig) -> None:
        super().__init__(given)
        self.config, self.backbone = config, given.encoder
        sizes = [given.encoder.dim, *[config.hidden] * (config.hidden > 0), config.out]
        self.projector = mlp(sizes)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """One triplet for each view; its negative is sought in the global batch."""
        embedding, z = together(self.backbone, self.projector, batch.views["global"][:, :2])
        z = unit(z)
        return Step(
            {"triplet": semi_hard_triplet(z, margin=self.config.margin)},
            embedding=self.embedded(embedding),
            projection=z,
        )
