"""BYOL. Grill et al. 2020, arXiv:2006.07733."""

from dataclasses import dataclass
from itertools import permutations
from typing import Annotated

import torch

from manyviews.core import Batch, Clock, Given, Method, Step
from manyviews.core.ranges import SHARE, Count
from manyviews.core.schedules import Cosine
from manyviews.losses.regression import normalised_mse
from manyviews.parts.branch import Branch
from manyviews.parts.heads import apart, mlp
from manyviews.parts.targets import EMA


@dataclass(frozen=True, kw_only=True)
class BYOLConfig:
    """Defaults: 1000 epochs on ImageNet, deepmind/deepmind-research byol/configs/byol.py.

    Attributes:
        momentum: of the target; 0.99 at the start for 300 epochs.
        hidden: width of the projector's and the predictor's hidden layer.
        out: width of their outputs.
    """

    momentum: Annotated[Cosine, SHARE] = Cosine(0.996, 1.0)
    hidden: Count = 4096
    out: Count = 256


class BYOL(Method):
    """Predict the slow target's projection of every other view; no negatives."""

    def __init__(self, given: Given, config: BYOLConfig) -> None:
        super().__init__(given)
        encoder = given.encoder
        self.config = config
        projector = mlp([encoder.dim, config.hidden, config.out], bias_last=False)
        self.online = Branch(encoder, projector)
        self.predictor = mlp([config.out, config.hidden, config.out], bias_last=False)
        self.target = EMA(self.online, config.momentum)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """Of each view the mean error with all others, added; batch statistics are a view's own."""
        views = batch.views["global"]
        # The target goes first: its memory is free again before the online network fills its own.
        with torch.no_grad():
            targets = self.target.copy.apart(views)[1].unbind(1)
        embedding, z = self.online.apart(views)
        predictions = apart(self.predictor, z).unbind(1)
        count = views.shape[1]
        pairs = permutations(range(count), 2)
        errors = [normalised_mse(predictions[a], targets[b]) for a, b in pairs]
        return Step(
            {"regression": count * torch.stack(errors).mean()},
            embedding=self.embedded(embedding),
            projection=z,
        )

    def after_step(self, clock: Clock) -> None:
        """The target follows the online encoder and projector."""
        self.target.follow(self.online, clock)
