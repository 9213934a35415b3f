"""DeepCluster-v2. Caron et al. 2020, arXiv:2006.09882; facebookresearch/swav."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from manyviews.core import Batch, Clock, EmbedAll, Given, Method, Step, flat, wide
from manyviews.core.ranges import Count, Positive, Several
from manyviews.losses.assignment import assigned_cross_entropy
from manyviews.losses.contrastive import unit
from manyviews.parts.bank import Bank
from manyviews.parts.branch import Branch, evaluating
from manyviews.parts.cluster import UNASSIGNED, spherical_kmeans
from manyviews.parts.crops import encode_crops
from manyviews.parts.heads import mlp


@dataclass(frozen=True, kw_only=True)
class DeepClusterConfig:
    """Defaults: facebookresearch/swav scripts/deepclusterv2_800ep_pretrain.sh.

    Attributes:
        hidden: width of the projector's hidden layer.
        out: width of its output, and of the banks.
        prototypes: clusters of each head; heads cluster the two views' banks in turn.
        temperature: of the predictions.
        rounds: of k-means, each epoch.
    """

    hidden: Count = 2048
    out: Count = 128
    prototypes: tuple[Several, ...] = (3000, 3000, 3000)
    temperature: Positive = 0.1
    rounds: Count = 10


class DeepCluster(Method):
    """Predict from every view the cluster in which the last epoch's embedding of the sample lies.

    Its own buffers are written between epochs only, so undoing a step needs no copy of them.
    """

    needs: Mapping[str, int] = {"global": 2, "local": 0}
    never_copied = True
    of_samples = True
    centroids: Tensor
    assignment: Tensor
    usage: Tensor

    def __init__(self, given: Given, config: DeepClusterConfig) -> None:
        super().__init__(given)
        self.config = config
        sizes = [given.encoder.dim, config.hidden, config.out]
        self.online = Branch(given.encoder, mlp(sizes))
        self.one = Bank(given.samples, config.out, momentum=0.0)
        self.two = Bank(given.samples, config.out, momentum=0.0)
        heads, samples = len(config.prototypes), given.samples
        self.register_buffer("centroids", torch.zeros(sum(config.prototypes), config.out))
        self.register_buffer("assignment", torch.full((heads, samples), UNASSIGNED))
        self.register_buffer("usage", torch.ones(()))

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The mean over heads of the cross-entropy with the samples' clusters."""
        h = encode_crops(self.online.encoder, batch.views)
        z = unit(flat(self.online.head, h))  # [B, V, P], global views first
        with torch.autocast(z.device.type, enabled=False):
            scores = (z @ self.centroids.T).split(self.config.prototypes, dim=-1)
        losses = [
            assigned_cross_entropy(s, target, temperature=self.config.temperature)
            for s, target in zip(scores, self.assignment[:, batch.index], strict=True)
        ]
        count = batch.views["global"].shape[1]
        return Step(
            {"assigned": torch.stack(losses).mean()},
            embedding=self.embedded(h[:, :count]),
            projection=z[:, :count],
            fresh={"index": batch.index, "rows": z[:, :2].detach()},
            watch={"usage_entropy": self.usage, "target_entropy": torch.zeros_like(self.usage)},
        )

    def assign(self, images: Tensor) -> Tensor:
        """The first head's share [B, K] of each cluster in images [B, C, H, W]."""
        z = unit(self.online(images)[1])
        first = self.centroids[: self.config.prototypes[0]]
        return (z @ first.T / self.config.temperature).softmax(dim=-1)

    def before_epoch(self, clock: Clock, embed_all: EmbedAll) -> None:
        """Cluster the banks; the first time fill them, both alike."""
        if not (self.assignment != UNASSIGNED).any():
            rows = embed_all(self._embed)
            self.one.items.copy_(rows)
            self.two.items.copy_(rows)
        banks, usage = (self.one, self.two), 0.0
        for head, centroids in enumerate(self.centroids.split(self.config.prototypes)):
            bank = banks[head % 2].items
            found = spherical_kmeans(bank, count=len(centroids), rounds=self.config.rounds)
            centroids.copy_(found.centroids)
            self.assignment[head] = found.assignment
            sizes = found.assignment[found.assignment != UNASSIGNED].bincount()
            usage += float(torch.special.entr(sizes / sizes.sum()).sum()) / math.log(len(centroids))
        self.usage.fill_(usage / len(self.config.prototypes))

    @torch.no_grad()
    def _embed(self, views: Mapping[str, Tensor]) -> Tensor:
        with evaluating(self):
            return unit(wide(self.online(views[next(iter(self.encoders))])[1]))

    def after_backward(self, step: Step, clock: Clock) -> None:
        """Stage the embeddings of the first two views."""
        for bank, rows in zip((self.one, self.two), step.fresh["rows"].unbind(1), strict=True):
            bank.stage(step.fresh["index"], rows)

    def after_step(self, clock: Clock) -> None:
        """The banks take in the step's embeddings."""
        self.one.commit()
        self.two.commit()
