"""TiCo. Zhu et al. 2022, arXiv:2206.10698."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from manyviews.core import Batch, Clock, Given, Method, Step
from manyviews.core.ranges import SHARE, Count, Decaying, NotNegative
from manyviews.core.schedules import Cosine
from manyviews.losses.contrastive import unit
from manyviews.losses.redundancy import second_moment, spread_along
from manyviews.parts.branch import Branch
from manyviews.parts.heads import mlp
from manyviews.parts.targets import EMA


@dataclass(frozen=True, kw_only=True)
class TiCoConfig:
    """Defaults: the paper's, as sayannag/TiCo-pytorch has them.

    Attributes:
        contrast: rho, weight of the covariance term.
        memory: beta, share of the covariance that stays at each step.
        momentum: of the slow copy.
        hidden: width of the projector's hidden layer.
        out: width of its output.
    """

    contrast: NotNegative = 8.0
    memory: Decaying = 0.9
    momentum: Annotated[Cosine, SHARE] = Cosine(0.99, 1.0)
    hidden: Count = 4096
    out: Count = 256


class TiCo(Method):
    """Agree with a slow copy on the other view, along directions that earlier batches spared."""

    most: Mapping[str, int] = {"global": 2}
    covariance: Tensor

    def __init__(self, given: Given, config: TiCoConfig) -> None:
        super().__init__(given)
        self.config = config
        head = mlp([given.encoder.dim, config.hidden, config.out], bias=False)
        self.online = Branch(given.encoder, head)
        self.target = EMA(self.online, config.momentum)
        self.register_buffer("covariance", torch.zeros(config.out, config.out))

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """Both terms of equation 5; the covariance includes this batch, with its gradient."""
        view, other = batch.views["global"][:, :2].unbind(1)
        key = unit(self.target(other)[1])
        features, z = self.online(view)
        z = unit(z)
        memory = self.config.memory
        covariance = memory * self.covariance + (1 - memory) * second_moment(z)
        return Step(
            {
                "invariance": 1 - (z * key).sum(dim=1).mean(),
                "covariance": self.config.contrast * spread_along(z, covariance),
            },
            embedding=self.embedded(features.pooled[:, None]),
            projection=z[:, None],
            fresh={"covariance": covariance.detach()},
        )

    def after_backward(self, step: Step, clock: Clock) -> None:
        """Remember the covariance."""
        self.covariance.copy_(step.fresh["covariance"])

    def after_step(self, clock: Clock) -> None:
        """The slow copy follows."""
        self.target.follow(self.online, clock)
