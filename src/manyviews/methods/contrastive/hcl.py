"""HCL, contrastive learning with hard negatives. Robinson et al. 2021, arXiv:2010.04592."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from manyviews.core import Batch, Clock, Given, Method, Step, comm
from manyviews.core.ranges import Count, Decaying, NotNegative, Positive
from manyviews.losses.contrastive import debiased, unit
from manyviews.parts.branch import together
from manyviews.parts.heads import mlp


@dataclass(frozen=True, kw_only=True)
class HCLConfig:
    """Defaults: on STL-10, joshr17/HCL image/main.py and image/model.py.

    Attributes:
        temperature: of the softmax.
        prior: tau plus, the chance that another image is of the same class: about one over the
            number of classes.
        hardness: beta; the larger, the more the negatives that are most alike count.
        hidden: width of the projector's hidden layer.
        out: width of its output.
    """

    temperature: Positive = 0.5
    prior: Decaying = 0.1
    hardness: NotNegative = 1.0
    hidden: Count = 512
    out: Count = 128


class HCL(Method):
    """Debiased SimCLR whose negatives count the more, the more they are like the anchor."""

    most: Mapping[str, int] = {"global": 2}

    def __init__(self, given: Given, config: HCLConfig) -> None:
        super().__init__(given)
        self.config, self.backbone = config, given.encoder
        self.projector = mlp([given.encoder.dim, config.hidden, config.out], bias=False)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The loss over both views' projections; they share batch statistics."""
        config = self.config
        embedding, z = together(self.backbone, self.projector, batch.views["global"][:, :2])
        z = unit(z)
        loss = debiased(
            z, temperature=config.temperature, prior=config.prior, hardness=config.hardness
        )
        candidates = 2 * len(comm.gather(batch.index)) - 1
        return Step(
            {"hard_negatives": loss},
            embedding=self.embedded(embedding),
            projection=z,
            watch={"contrastive_floor": loss.detach() / math.log(candidates)},
        )
