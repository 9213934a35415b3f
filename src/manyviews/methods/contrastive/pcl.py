"""PCL. Li et al. 2021, arXiv:2005.04966; salesforce/PCL."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from manyviews.core import Batch, Clock, EmbedAll, Given, Method, Step, comm
from manyviews.core.ranges import SHARE, Count, Natural, Positive, Several, Share
from manyviews.core.schedules import Cosine
from manyviews.losses.clustering import prototype_info_nce
from manyviews.losses.contrastive import info_nce, unit
from manyviews.parts.branch import Branch, evaluating
from manyviews.parts.cluster import Clusterings
from manyviews.parts.counted import mixed, words
from manyviews.parts.heads import mlp
from manyviews.parts.norm import BatchNorm, convert, shuffled
from manyviews.parts.queue import Queue
from manyviews.parts.targets import EMA


@dataclass(frozen=True, kw_only=True)
class PCLConfig:
    """Defaults: v2 on ImageNet, salesforce/PCL README and main_pcl.py.

    Attributes:
        temperature: of the queue's softmax, and the mean of the clusters' concentrations.
        queue: keys kept as negatives.
        momentum: of the key encoder.
        hidden: width of the head's hidden layer; 0 takes the encoder's.
        out: width of its output.
        prototypes: clusters of each clustering.
        negatives: prototypes of other clusters, drawn anew at each step; as many as there are
            where fewer are left.
        rounds: of k-means, each epoch.
        clusters_from: share of training after which epochs begin with a clustering; before it
            the queue alone teaches.
        norm_groups: as of MoCo: parts of the batch with batch-norm statistics of their own.
    """

    temperature: Positive = 0.2
    queue: Count = 16384
    momentum: Annotated[Cosine, SHARE] = Cosine(0.999, 0.999)
    hidden: Natural = 0
    out: Count = 128
    prototypes: tuple[Several, ...] = (25000, 50000, 100000)
    negatives: Count = 16384
    rounds: Count = 20
    clusters_from: Share = 0.1
    norm_groups: Natural = 8


class PCL(Method):
    """A query has to pick out its key, and the prototypes of the clusters that its image is in."""

    needs: Mapping[str, int] = {"global": 2}
    most: Mapping[str, int] = {"global": 2}
    seed: Tensor

    def __init__(self, given: Given, config: PCLConfig) -> None:
        super().__init__(given)
        encoder, self.config = given.encoder, config
        sizes = [encoder.dim, config.hidden or encoder.dim, config.out]
        self.online = Branch(encoder, mlp(sizes, norm=False))
        if config.norm_groups:
            convert(self.online, groups=config.norm_groups)
        self.target = EMA(self.online, config.momentum)
        has_norm = any(isinstance(module, BatchNorm) for module in self.online.modules())
        self.shuffles = config.norm_groups > 0 and has_norm
        self.queue = Queue(config.queue, config.out)
        self.clusters = Clusterings(given.samples, config.out, config.prototypes)
        self.register_buffer("seed", torch.randint(2**62, ()))

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """InfoNCE against the queue, and the mean over clusterings of that against prototypes."""
        config, (one, two) = self.config, batch.views["global"].unbind(1)
        features, out = self.online(one)
        query, key = unit(out), self._key(two, clock)
        loss = info_nce(query, key, self.queue.items, temperature=config.temperature)
        return Step(
            {"info_nce": loss, "prototypes": self._prototypes(query, batch.index, clock)},
            embedding=self.embedded(features.pooled[:, None]),
            projection=query[:, None],
            fresh={"keys": key},
            watch={
                "contrastive_floor": loss.detach() / math.log(1 + config.queue),
                "usage_entropy": self.clusters.usage,
            },
        )

    def _key(self, view: Tensor, clock: Clock) -> Tensor:
        if self.shuffles:
            return shuffled(lambda x: unit(self.target(x)[1]), view, seed=clock.step)
        return unit(self.target(view)[1])

    def _prototypes(self, query: Tensor, index: Tensor, clock: Clock) -> Tensor:
        held, counts = self.clusters, self.config.prototypes
        parts = zip(held.centroids.split(counts), held.concentration.split(counts), strict=True)
        losses = [
            prototype_info_nce(
                query,
                centroids,
                concentration,
                cluster=cluster,
                negatives=self._negatives(comm.gather(cluster), len(centroids), clock, number),
            )
            for number, ((centroids, concentration), cluster) in enumerate(
                zip(parts, held.assignment[:, index], strict=True)
            )
        ]
        return torch.stack(losses).mean()

    def _negatives(self, positives: Tensor, count: int, clock: Clock, number: int) -> Tensor:
        """[R] int64: prototypes that none of the batch is in; -100 where there are not so many."""
        keys = words(mixed(mixed(self.seed + clock.step) + number), count)
        taken = torch.zeros_like(keys, dtype=torch.bool)
        taken[positives[positives >= 0]] = True
        drawn = keys.masked_fill(taken, 2**63 - 1).argsort()[: self.config.negatives]
        return drawn.masked_fill(taken[drawn], -100)

    def before_epoch(self, clock: Clock, embed_all: EmbedAll) -> None:
        """Cluster all samples by what the key encoder makes of them."""
        if clock.progress >= self.config.clusters_from:
            rows = embed_all(self._embed)
            config = self.config
            self.clusters.cluster(rows, rounds=config.rounds, temperature=config.temperature)

    def _embed(self, views: Mapping[str, Tensor]) -> Tensor:
        with evaluating(self):
            return unit(self.target(views[next(iter(self.encoders))])[1])

    def assign(self, images: Tensor) -> Tensor:
        """The share [B, K] of each cluster of the first clustering in images [B, C, H, W]."""
        first = self.config.prototypes[0]
        scores = unit(self.target(images)[1]) @ self.clusters.centroids[:first].T
        return (scores / self.clusters.concentration[:first]).softmax(dim=-1)

    def after_backward(self, step: Step, clock: Clock) -> None:
        """Store the keys."""
        self.queue.push(step.fresh["keys"])

    def after_step(self, clock: Clock) -> None:
        """The key encoder follows the query encoder."""
        self.target.follow(self.online, clock)
