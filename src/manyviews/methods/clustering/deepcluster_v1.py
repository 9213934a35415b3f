"""DeepCluster. Caron et al. 2018, arXiv:1807.05520; facebookresearch/deepcluster."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from manyviews.core import Batch, Clock, EmbedAll, Given, Group, Method, Step, comm, flat, wide
from manyviews.core.ranges import Count, Several
from manyviews.losses.assignment import balanced_cross_entropy
from manyviews.losses.contrastive import unit
from manyviews.parts.branch import evaluating
from manyviews.parts.cluster import UNASSIGNED, evened, spherical_kmeans
from manyviews.parts.whitening import whitened


@dataclass(frozen=True, kw_only=True)
class DeepClusterV1Config:
    """Defaults: facebookresearch/deepcluster main.sh and clustering.py.

    Attributes:
        clusters: K, also the classes.
        components: principal components that are clustered, whitened.
        rounds: of k-means, each epoch.
    """

    clusters: Several = 10000
    components: Count = 256
    rounds: Count = 20


class PseudoLabels(nn.Module):
    """Each sample's cluster, and how much it counts.

    Attributes:
        of_samples: what it holds means nothing on other data.
        never_copied: it is written between epochs only, so undoing a step needs no copy.
    """

    of_samples = True
    never_copied = True
    cluster: Tensor
    weight: Tensor
    usage: Tensor

    def __init__(self, samples: int) -> None:
        super().__init__()
        self.register_buffer("cluster", torch.full((samples,), UNASSIGNED))
        self.register_buffer("weight", torch.zeros(samples))
        self.register_buffer("usage", torch.ones(()))


class DeepClusterV1(Method):
    """Predict, with a new classifier every epoch, the cluster of the sample's features."""

    needs: Mapping[str, int] = {"global": 1}

    def __init__(self, given: Given, config: DeepClusterV1Config) -> None:
        super().__init__(given)
        self.config, self.backbone = config, given.encoder
        self.head = nn.Linear(given.encoder.dim, config.clusters)
        self.assigned = PseudoLabels(given.samples)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The cross-entropy with the samples' clusters, all clusters counting alike."""
        h = flat(lambda x: self.backbone(x, tokens=False).pooled, batch.views["global"])
        target, weight = (x[batch.index] for x in (self.assigned.cluster, self.assigned.weight))
        return Step(
            {"assigned": balanced_cross_entropy(self.head(h), target, weight)},
            embedding=self.embedded(h[:, :2]),
            watch={"usage_entropy": self.assigned.usage},
        )

    @torch.no_grad()
    def before_epoch(self, clock: Clock, embed_all: EmbedAll) -> None:
        """Cluster all samples by their features, and begin the classifier anew."""
        config, kept = self.config, self.assigned
        rows = unit(whitened(embed_all(self._embed), components=config.components))
        kept.cluster.copy_(
            spherical_kmeans(rows, count=config.clusters, rounds=config.rounds).assignment
        )
        weight, usage = evened(kept.cluster, count=config.clusters)
        kept.weight.copy_(weight)
        kept.usage.copy_(usage)
        comm.broadcast(self.head.weight.data.normal_(0.0, 0.01))
        self.head.bias.data.zero_()

    def _embed(self, views: Mapping[str, Tensor]) -> Tensor:
        with evaluating(self):
            return wide(self.backbone(views[next(iter(self.encoders))], tokens=False).pooled)

    def param_groups(self) -> list[Group]:
        """The classifier, which lives for one epoch, has a constant learning rate."""
        return [
            Group([p for p in self.backbone.parameters() if p.requires_grad]),
            Group(list(self.head.parameters()), fixed_lr=True),
        ]
