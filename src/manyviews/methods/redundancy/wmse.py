"""W-MSE. Ermolov et al. 2021, arXiv:2007.06346."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from manyviews.core import Batch, Clock, Given, Method, Step, flat
from manyviews.core.ranges import Count, Several, Share
from manyviews.losses.whitening import whitened_distance
from manyviews.parts.branch import Branch
from manyviews.parts.heads import mlp


@dataclass(frozen=True, kw_only=True)
class WMSEConfig:
    """Defaults: on CIFAR-10, htdt/self-supervised cfg.py.

    Attributes:
        sub_batch: samples that are whitened together; divides the batch of all ranks.
        rounds: times that each batch is put into sub-batches anew.
        shrinkage: share of the identity in the covariance, for sub-batches of few samples.
        hidden: width of the head's hidden layer.
        out: width of its output.
    """

    sub_batch: Several = 128
    rounds: Count = 1
    shrinkage: Share = 0.0
    hidden: Count = 1024
    out: Count = 64

    def wrong(self) -> Iterator[tuple[str, object, str]]:
        """Sub-batches that cannot have so many directions."""
        if self.sub_batch <= self.out and not self.shrinkage:
            wanted = f"above --method.out {self.out}, better twice that, or a --method.shrinkage"
            yield "sub_batch", self.sub_batch, wanted


class WMSE(Method):
    """Bring views together whose embeddings were whitened, so that they cannot collapse."""

    def __init__(self, given: Given, config: WMSEConfig) -> None:
        super().__init__(given)
        self.config = config
        head = mlp([given.encoder.dim, config.hidden, config.out])
        self.online = Branch(given.encoder, head)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The distance of all pairs of views; the head's norm sees all views at once."""
        views = batch.views["global"].unbind(1)
        encoder = self.online.encoder
        h = torch.stack([encoder(view, tokens=False).pooled for view in views], dim=1)
        z = flat(self.online.head, h)
        loss = whitened_distance(
            z,
            size=self.config.sub_batch,
            rounds=self.config.rounds,
            shrinkage=self.config.shrinkage,
            seed=clock.step,
        )
        return Step({"whitened_distance": loss}, self.embedded(h[:, :2]), projection=z)
