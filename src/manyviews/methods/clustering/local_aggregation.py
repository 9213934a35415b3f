"""Local aggregation. Zhuang et al. 2019, arXiv:1903.12355; neuroailab/LocalAggregation."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from manyviews.core import Batch, Clock, EmbedAll, Given, Method, Step
from manyviews.core.ranges import Count, Decaying, Natural, Positive, Several, Share
from manyviews.losses.clustering import aggregation
from manyviews.losses.contrastive import unit
from manyviews.losses.nce import even, own_row, scores
from manyviews.parts.bank import Bank, Partition, settled
from manyviews.parts.branch import of_plain, together
from manyviews.parts.cluster import UNASSIGNED, spherical_kmeans
from manyviews.parts.heads import mlp


@dataclass(frozen=True, kw_only=True)
class LocalAggregationConfig:
    """Defaults: a ResNet on ImageNet, neuroailab/LocalAggregation exp_configs/la_final.json.

    Attributes:
        clusters: of each clustering of the bank; close are samples that share a cluster in any.
        background: nearest rows of the bank, of which the close ones are a part.
        temperature: of the scores.
        momentum: weight of a sample's old row in its new one.
        rounds: of k-means, each epoch.
        clusters_from: share of training after which epochs begin with a clustering; before it the
            rows are learnt as NPID does.
        negatives: K of that, drawn from the bank anew for each sample.
        hidden: width of the head's hidden layer; 0 makes it linear.
        out: width of its output, and of the bank.
        filled: rows begin as what the untrained network makes of the samples, in a pass before the
            first step; at random, as in the authors' code, where it is not.
    """

    clusters: tuple[Several, ...] = (30000,) * 10
    background: Count = 4096
    temperature: Positive = 0.07
    momentum: Decaying = 0.5
    rounds: Count = 20
    clusters_from: Share = 0.05
    negatives: Count = 4096
    hidden: Natural = 0
    out: Count = 128
    filled: bool = False


class Neighbourhoods(nn.Module):
    """Each sample's cluster in each clustering; written between epochs only, -100 before that."""

    of_samples = True
    never_copied = True
    items: Tensor

    def __init__(self, clusterings: int, samples: int) -> None:
        super().__init__()
        self.register_buffer("items", torch.full((clusterings, samples), UNASSIGNED))


class LocalAggregation(Method):
    """Of the rows nearest to an image those of its clusters come nearer, and the others leave."""

    needs: Mapping[str, int] = {"global": 1}
    most: Mapping[str, int] = {"global": 1}

    def __init__(self, given: Given, config: LocalAggregationConfig) -> None:
        super().__init__(given)
        self.config, self.backbone = config, given.encoder
        sizes = [given.encoder.dim, *[config.hidden] * (config.hidden > 0), config.out]
        self.head = mlp(sizes, norm=False)
        self.bank = Bank(given.samples, config.out, momentum=config.momentum)
        self.clusters = Neighbourhoods(len(config.clusters), given.samples)
        self.partition = Partition()

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The share of close neighbours among near ones; before any clustering, NPID's loss."""
        embedding, z = together(self.backbone, self.head, batch.views["global"][:, :1])
        z, index = unit(z), batch.index
        clustered = bool(self.clusters.items[0, 0] != UNASSIGNED)
        make = self._aggregated if clustered else self._recognised
        losses, fresh, watch = make(z[:, 0], index, clock)
        return Step(
            losses,
            embedding=self.embedded(embedding),
            projection=z,
            fresh={"index": index, "rows": z[:, 0].detach()} | fresh,
            watch=watch,
        )

    def _aggregated(self, z: Tensor, index: Tensor, clock: Clock) -> tuple[dict[str, Tensor], ...]:
        near = self.near(z.detach())
        own, theirs = self.clusters.items[:, index], self.clusters.items[:, near]
        close = (own[:, :, None] == theirs).any(dim=0)
        every = scores(z, self.bank.items, near, temperature=self.config.temperature)
        return {"aggregation": aggregation(every, close)}, {}, {}

    def _recognised(self, z: Tensor, index: Tensor, clock: Clock) -> tuple[dict[str, Tensor], ...]:
        config = self.config
        every = self.bank.scores(
            z, index, count=config.negatives, temperature=config.temperature, step=clock.step
        )
        partition = self.partition(every)
        loss = own_row("nce", every, partition=partition)
        floor = loss.detach() / even("nce", config.negatives)
        return (
            {"nce": loss},
            {"partition": partition},
            {"contrastive_floor": settled(floor, clock)},
        )

    @torch.no_grad()
    def near(self, z: Tensor) -> Tensor:
        """[B, K] int64: the rows of the bank that are nearest to each of z, a sample's own too."""
        items = self.bank.items
        with torch.autocast(z.device.type, enabled=False):
            every = z.to(items.dtype) @ items.T
        return every.topk(min(self.config.background, len(items)), sorted=False).indices

    def before_epoch(self, clock: Clock, embed_all: EmbedAll) -> None:
        """Before the first step of all fill the bank, where asked to; then cluster it."""
        if self.config.filled and clock.step == 0:
            self.bank.fill(embed_all(of_plain(self, self.backbone, self.head)))
        if clock.progress >= self.config.clusters_from:
            for number, count in enumerate(self.config.clusters):
                found = spherical_kmeans(
                    self.bank.items, count=count, rounds=self.config.rounds, setting="clusters"
                )
                self.clusters.items[number] = found.assignment

    def after_backward(self, step: Step, clock: Clock) -> None:
        """Stage the batch's rows; keep the first partition."""
        self.bank.stage(step.fresh["index"], step.fresh["rows"])
        if "partition" in step.fresh:
            self.partition.store(step.fresh["partition"])

    def after_step(self, clock: Clock) -> None:
        """The bank takes in the step's rows."""
        self.bank.commit()
