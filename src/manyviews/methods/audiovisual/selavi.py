"""SeLaVi. Asano et al. 2020, arXiv:2006.13662; facebookresearch/selavi."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from manyviews.core import Batch, Clock, EmbedAll, Given, Method, Step, comm, flat, wide
from manyviews.core.ranges import Count, Decaying, Positive, Several
from manyviews.losses.assignment import assigned_cross_entropy
from manyviews.parts.agreement import matched
from manyviews.parts.branch import evaluating
from manyviews.parts.cluster import UNASSIGNED
from manyviews.parts.heads import mlp
from manyviews.parts.transport import Labels, by_rank, due, transported

_LEAST = 0.01
"""Of a class's share over an equal one, whatever was drawn."""


@dataclass(frozen=True, kw_only=True)
class SeLaViConfig:
    """Defaults: facebookresearch/selavi opt.py and README.md, for Kinetics.

    Attributes:
        clusters: K of each head, also its classes.
        heads: clusterings, each with a classifier of either modality and labels of its own.
        hidden: width of the classifiers' hidden layer.
        spread: deviation of the classes' sizes over their mean, drawn once; 0 for equal ones.
        align: number the classes of sound as those of pictures before the first labels.
        sharpness: lambda; half of it is the power of the product of both probabilities.
        tolerance: of transport.
        labellings: how often samples get new labels, densely at first: at epochs
            E (j / (labellings - 1))^power, no more than once an epoch.
        power: of that.
    """

    clusters: Several = 400
    heads: Count = 10
    hidden: Count = 512
    spread: Decaying = 0.1
    align: bool = True
    sharpness: Positive = 20.0
    tolerance: Positive = 0.1
    labellings: Several = 100
    power: Positive = 1.5


class SeLaVi(Method):
    """Label all videos by what pictures and sound agree on, and let either learn the labels.

    Attributes:
        shares: [heads, clusters], each class's part of all samples, ascending.
    """

    needs: Mapping[str, int] = {"video": 1, "audio": 1}
    trains = ("video", "audio")
    shares: Tensor

    def __init__(self, given: Given, config: SeLaViConfig) -> None:
        super().__init__(given)
        self.config = config
        self.networks = nn.ModuleDict({name: given.encoders[name] for name in self.trains})
        self.heads = nn.ModuleDict()
        for name in self.trains:
            sizes = [given.encoders[name].dim, config.hidden, config.clusters]
            self.heads[name] = nn.ModuleList(mlp(sizes, bias=False) for _ in range(config.heads))
        self.classes = Labels(config.heads, given.samples)
        drawn = (1 + config.spread * torch.randn(config.heads, config.clusters)).clamp(min=_LEAST)
        shares = drawn.sort(dim=1).values / drawn.sum(dim=1, keepdim=True)
        self.register_buffer("shares", shares)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """Half of each modality's cross-entropy with the samples' labels, the mean over heads."""
        losses: dict[str, Tensor] = {}
        embedding: dict[str, Tensor] = {}
        for name, network in self.networks.items():
            h = flat(lambda x, of=network: of(x, tokens=False).pooled, batch.views[name])
            each = [
                assigned_cross_entropy(flat(head, h), labels[batch.index], temperature=1.0)
                for head, labels in zip(self._heads(name), self.classes.items, strict=True)
            ]
            losses[name] = torch.stack(each).mean() / 2
            embedding[name] = h[:, :2].detach()
        return Step(losses, embedding)

    @torch.no_grad()
    def before_epoch(self, clock: Clock, embed_all: EmbedAll) -> None:
        """Where it is time, give all samples new labels; the first time number classes alike."""
        config = self.config
        if not due(clock, times=config.labellings, power=config.power):
            return
        dims = [self.encoders[name].dim for name in self.trains]
        rows = comm.share(embed_all(self._embed))
        known = rows.sum(dim=1).isfinite()
        parts = dict(zip(self.trains, rows[known].split(dims, dim=1), strict=True))
        first = not (self.classes.items != UNASSIGNED).any()
        labels = torch.zeros_like(self.classes.items)
        for number, (out, shares) in enumerate(zip(labels, self.shares, strict=True)):
            seen, heard = (self._predicted(name, number, parts[name]) for name in self.trains)
            if first and config.align:
                order = matched(seen, heard)
                *_, last = self._heads("audio")[number].children()
                for parameter in last.parameters():
                    parameter.data.copy_(parameter.data[order])
                heard = heard[:, order]
            both = seen * heard
            found = torch.full_like(known, UNASSIGNED, dtype=torch.long)
            found[known] = transported(
                both,
                sharpness=config.sharpness / 2,
                tolerance=config.tolerance,
                shares=by_rank(shares, both),
            )
            comm.share(out).copy_(found)
        self.classes.items.copy_(comm.total(labels))

    def _predicted(self, name: str, number: int, rows: Tensor) -> Tensor:
        """[n, K] probabilities of one head, float64."""
        head = self._heads(name)[number]
        with evaluating(self):
            return head(rows.to(next(head.parameters()).dtype)).double().softmax(dim=1)

    def _heads(self, name: str) -> nn.ModuleList:
        found = self.heads[name]
        assert isinstance(found, nn.ModuleList)
        return found

    def _embed(self, views: Mapping[str, Tensor]) -> Tensor:
        """[B, D of pictures + D of sound] of plain views."""
        with evaluating(self):
            made = [net(views[k], tokens=False).pooled for k, net in self.networks.items()]
            return wide(torch.cat(made, dim=1))
