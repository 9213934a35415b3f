"""Any frozen teacher into any encoder, smaller ones above all, without labels.

Hinton et al. 2015, arXiv:1503.02531; Fang et al. 2021 (SEED), arXiv:2101.04731; Koohpayegani et al.
2020 (CompRess), arXiv:2010.14713.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from manyviews.core import Batch, Clock, EmbedAll, Encoder, Given, Method, Step, comm, wide
from manyviews.core.ranges import Count, NotNegative, Positive, Several
from manyviews.losses.contrastive import unit
from manyviews.losses.distillation import similarity_kl, token_distance
from manyviews.parts.cluster import spherical_kmeans
from manyviews.parts.queue import Queue
from manyviews.parts.teaching import Shown, regrid, token_width


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """Settings of distillation.

    Attributes:
        pooled: weight of what is learnt of whole views; 0 leaves it out.
        dense: weight of what is learnt of places, where teacher and encoder have tokens; 0 leaves
            it out.
        anchors: what whole views are compared by: the teacher's embeddings of this and the last
            batches ("queue"), or the directions around which those of all data gather
            ("clusters").
        queue: embeddings of earlier batches.
        clusters: K, no more than there are samples.
        rounds: of the k-means that finds clusters.
        temperature: of the student; lower looks at the nearest anchors only.
        teacher_temperature: of the teacher.
    """

    pooled: NotNegative = 1.0
    dense: NotNegative = 1.0
    anchors: Literal["queue", "clusters"] = "queue"
    queue: Count = 8192
    clusters: Several = 1000
    rounds: Count = 10
    temperature: Positive = 0.07
    teacher_temperature: Positive = 0.07

    def wrong(self) -> Iterator[tuple[str, object, str]]:
        """Nothing to learn."""
        if not self.pooled and not self.dense:
            yield "pooled", self.pooled, "a number above 0, or --method.dense above 0"


class Distill(Method):
    """See in a view what a frozen teacher sees in the same view."""

    needs: Mapping[str, int] = {"global": 1}
    asks = ("teacher",)

    known: Tensor
    centroids: Tensor

    def __init__(self, given: Given, config: DistillConfig) -> None:
        super().__init__(given)
        self.config, self.online = config, given.encoder
        teacher = cast(Encoder, given.teachers["teacher"])
        self.shown = Shown(teacher, self.online.input)
        if config.pooled:
            self.pooled = nn.Linear(self.online.dim, teacher.dim)
            if config.anchors == "queue":
                self.queue = Queue(config.queue, teacher.dim)
            else:
                self.register_buffer("centroids", torch.zeros(config.clusters, teacher.dim))
                self.register_buffer("known", torch.zeros((), dtype=torch.bool))
        if config.dense:
            self.dense = nn.Linear(token_width(self.online), token_width(teacher))

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """What the two make of each view; all views count alike."""
        views, config = batch.views["global"], self.config
        x = views.flatten(0, 1)
        theirs = self.shown(x, tokens=bool(config.dense))
        ours = self.online(x, tokens=bool(config.dense))
        losses = dict[str, Tensor]()
        fresh, z = dict[str, Tensor](), ours.pooled
        if config.pooled:
            z, target = unit(self.pooled(ours.pooled)), unit(wide(theirs.pooled))
            kl = similarity_kl(
                z,
                target,
                self._anchors(target),
                temperature=config.temperature,
                teacher_temperature=config.teacher_temperature,
            )
            losses["similarity"], fresh["targets"] = config.pooled * kl, target
        if config.dense:
            grid = self.shown.teacher.grid
            mapped = regrid(self.dense(ours.tokens), self.online.grid, grid)
            losses["dense"] = config.dense * token_distance(mapped, theirs.tokens)
        apart = views.shape[:2]
        embedding = ours.pooled.unflatten(0, apart)
        return Step(losses, self.embedded(embedding), projection=z.unflatten(0, apart), fresh=fresh)

    def _anchors(self, target: Tensor) -> Tensor:
        if self.config.anchors == "clusters":
            return self.centroids
        # A sample's own embedding is among them, as in SEED; those of other ranks too.
        return torch.cat([comm.gather(target), self.queue.items.to(target.dtype)])

    def before_epoch(self, clock: Clock, embed_all: EmbedAll) -> None:
        """Find the clusters, once: the teacher never changes."""
        if not self.config.pooled or self.config.anchors == "queue" or bool(self.known):
            return

        def embed(views: Mapping[str, Tensor]) -> Tensor:
            return unit(wide(self.shown(views[next(iter(self.encoders))]).pooled))

        rows = embed_all(embed).to(self.centroids.dtype)
        found = spherical_kmeans(
            rows, count=len(self.centroids), rounds=self.config.rounds, setting="clusters"
        )
        self.centroids.copy_(found.centroids)
        self.known.fill_(value=True)

    def after_backward(self, step: Step, clock: Clock) -> None:
        """The teacher's embeddings become anchors of later batches."""
        if self.config.pooled and self.config.anchors == "queue":
            self.queue.push(step.fresh["targets"])
