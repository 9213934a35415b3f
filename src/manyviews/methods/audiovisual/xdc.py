"""XDC, deep clustering across modalities. Alwassel et al. 2020, arXiv:1911.12667."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from manyviews.core import Batch, Clock, EmbedAll, Given, Group, Method, Step, comm, flat, wide
from manyviews.core.ranges import Count, Several
from manyviews.losses.assignment import balanced_cross_entropy
from manyviews.losses.contrastive import unit
from manyviews.parts.branch import evaluating
from manyviews.parts.cluster import UNASSIGNED, evened, spherical_kmeans
from manyviews.parts.whitening import whitened

_BOTH = "both"
_LEARNT = {
    "cross": (("video", "audio"), ("audio", "video")),
    "self": (("video", "video"), ("audio", "audio")),
    "both": (("video", "audio"), ("audio", "video"), ("video", "video"), ("audio", "audio")),
    "joint": (("video", _BOTH), ("audio", _BOTH)),
}
"""Whose labels -> pairs of a network and what was clustered for it."""


@dataclass(frozen=True, kw_only=True)
class XDCConfig:
    """Settings of XDC; k-means as DeepCluster's, since the authors' training is not public.

    Attributes:
        source: whose clusters a network has to predict: of the other modality ("cross", XDC), of
            its own ("self", SDC, two DeepClusters), of either by a classifier each ("both", MDC),
            or of both modalities' features side by side ("joint", CDC).
        clusters: K, also the classes.
        every: epochs from one clustering to the next.
        components: principal components that are clustered, whitened.
        rounds: of k-means.
    """

    source: Literal["cross", "self", "both", "joint"] = "cross"
    clusters: Several = 128
    every: Count = 1
    components: Count = 256
    rounds: Count = 20


class XDC(Method):
    """Clusters of what is heard are what pictures have to predict, and the reverse.

    Its own buffers are written between epochs only, so undoing a step needs no copy of them.

    Attributes:
        cluster: [sources, samples] int64, -100 for a sample in none.
        weight: [sources, samples], what each counts.
        usage: scalar, entropy of the clusters' sizes over ln K, the mean over sources.
    """

    needs: Mapping[str, int] = {"video": 1, "audio": 1}
    trains = ("video", "audio")
    never_copied = True
    of_samples = True
    cluster: Tensor
    weight: Tensor
    usage: Tensor

    def __init__(self, given: Given, config: XDCConfig) -> None:
        super().__init__(given)
        self.config, self.pairs = config, _LEARNT[config.source]
        self.sources = tuple(dict.fromkeys(source for _, source in self.pairs))
        self.networks = nn.ModuleDict({name: given.encoders[name] for name in self.trains})
        self.heads = nn.ModuleList(
            nn.Linear(given.encoders[name].dim, config.clusters) for name, _ in self.pairs
        )
        shape = (len(self.sources), given.samples)
        self.register_buffer("cluster", torch.full(shape, UNASSIGNED))
        self.register_buffer("weight", torch.zeros(shape))
        self.register_buffer("usage", torch.ones(()))

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The cross-entropy of each network with its labels, all clusters counting alike."""
        h = {
            name: flat(lambda x, of=network: of(x, tokens=False).pooled, batch.views[name])
            for name, network in self.networks.items()
        }
        losses: dict[str, Tensor] = {}
        for head, (name, source) in zip(self.heads, self.pairs, strict=True):
            row = self.sources.index(source)
            target, weight = self.cluster[row, batch.index], self.weight[row, batch.index]
            losses[f"{name}_by_{source}"] = balanced_cross_entropy(head(h[name]), target, weight)
        return Step(
            losses,
            embedding={name: x[:, :2].detach() for name, x in h.items()},
            watch={"usage_entropy": self.usage},
        )

    @torch.no_grad()
    def before_epoch(self, clock: Clock, embed_all: EmbedAll) -> None:
        """Every few epochs cluster all samples, and begin all classifiers anew."""
        if clock.epoch % self.config.every:
            return
        config, usage = self.config, torch.zeros_like(self.usage)
        for row, rows in enumerate(self._sources(embed_all(self._embed))):
            found = spherical_kmeans(
                rows, count=config.clusters, rounds=config.rounds, setting="clusters"
            )
            self.cluster[row] = found.assignment
            weight, even = evened(found.assignment, count=config.clusters)
            self.weight[row] = weight
            usage += even / len(self.sources)
        self.usage.copy_(usage)
        for head in self.heads:
            weight, bias = head.parameters()
            comm.broadcast(weight.data.normal_(0.0, 0.01))
            bias.data.zero_()

    def _sources(self, rows: Tensor) -> list[Tensor]:
        """What is clustered for each source, [samples, P] unit vectors."""
        dims = [self.encoders[name].dim for name in self.trains]
        parts = [whitened(x, components=self.config.components) for x in rows.split(dims, dim=1)]
        known = dict(zip(self.trains, (unit(part) for part in parts), strict=True))
        known[_BOTH] = unit(torch.cat(list(known.values()), dim=1))
        return [known[source] for source in self.sources]

    def _embed(self, views: Mapping[str, Tensor]) -> Tensor:
        """[B, D of pictures + D of sound] of plain views."""
        with evaluating(self):
            return torch.cat(
                [
                    wide(net(views[name], tokens=False).pooled)
                    for name, net in self.networks.items()
                ],
                dim=1,
            )

    def param_groups(self) -> list[Group]:
        """The classifiers, which live for a few epochs, have a constant learning rate."""
        return [
            Group([p for p in self.networks.parameters() if p.requires_grad]),
            Group(list(self.heads.parameters()), fixed_lr=True),
        ]
