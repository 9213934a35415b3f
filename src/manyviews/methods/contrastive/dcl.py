"""DCL and DCLW, decoupled contrastive learning. Yeh et al. 2022, arXiv:2110.06848."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from manyviews.core import Batch, Clock, Given, Method, Step, comm
from manyviews.core.ranges import Count, NotNegative, Positive
from manyviews.losses.contrastive import decoupled, unit
from manyviews.parts.branch import together
from manyviews.parts.heads import mlp


@dataclass(frozen=True, kw_only=True)
class DCLConfig:
    """Defaults: raminnakhli/Decoupled-Contrastive-Learning loss/dcl.py and experiment/simclr.

    Attributes:
        temperature: of the softmax.
        sigma: of the weights of DCLW, which has 0.5; 0 is DCL, where all samples weigh alike.
        hidden: width of the projector's hidden layer.
        out: width of its output.
    """

    temperature: Positive = 0.1
    sigma: NotNegative = 0.0
    hidden: Count = 512
    out: Count = 128


class DCL(Method):
    """SimCLR with the positive left out of the denominator, for small batches."""

    most: Mapping[str, int] = {"global": 2}

    def __init__(self, given: Given, config: DCLConfig) -> None:
        super().__init__(given)
        self.config, self.backbone = config, given.encoder
        self.projector = mlp([given.encoder.dim, config.hidden, config.out], bias=False)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The decoupled loss over both views' projections."""
        config = self.config
        embedding, z = together(self.backbone, self.projector, batch.views["global"][:, :2])
        z = unit(z)
        loss = decoupled(z, temperature=config.temperature, sigma=config.sigma)
        negatives = 2 * len(comm.gather(batch.index)) - 2
        return Step(
            {"decoupled": loss},
            embedding=self.embedded(embedding),
            projection=z,
            watch={"contrastive_floor": loss.detach() / math.log(negatives)},
        )
