"""Debiased contrastive learning. Chuang et al. 2020, arXiv:2007.00224."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from manyviews.core import Batch, Clock, Given, Method, Step, comm
from manyviews.core.ranges import Count, Decaying, Positive
from manyviews.losses.contrastive import debiased, unit
from manyviews.parts.branch import together
from manyviews.parts.heads import mlp


@dataclass(frozen=True, kw_only=True)
class DebiasedConfig:
    """Defaults: on STL-10, chingyaoc/DCL main.py and model.py.

    Attributes:
        temperature: of the softmax.
        prior: tau plus, the chance that another image is of the same class: about one over the
            number of classes. 0 leaves NT-Xent.
        hidden: width of the projector's hidden layer.
        out: width of its output.
    """

    temperature: Positive = 0.5
    prior: Decaying = 0.1
    hidden: Count = 512
    out: Count = 128


class Debiased(Method):
    """SimCLR whose negatives are corrected for those that are of the same class."""

    most: Mapping[str, int] = {"global": 2}

    def __init__(self, given: Given, config: DebiasedConfig) -> None:
        super().__init__(given)
        self.config, self.backbone = config, given.encoder
        self.projector = mlp([given.encoder.dim, config.hidden, config.out], bias=False)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The debiased loss over both views' projections; they share batch statistics."""
        config = self.config
        embedding, z = together(self.backbone, self.projector, batch.views["global"][:, :2])
        z = unit(z)
        loss = debiased(z, temperature=config.temperature, prior=config.prior)
        candidates = 2 * len(comm.gather(batch.index)) - 1
        return Step(
            {"debiased": loss},
            embedding=self.embedded(embedding),
            projection=z,
            watch={"contrastive_floor": loss.detach() / math.log(candidates)},
        )
