"""SeLa. Asano et al. 2020, arXiv:1911.05371; yukimasano/self-label."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from manyviews.core import Batch, Clock, EmbedAll, Given, Method, Step, comm, flat, wide
from manyviews.core.ranges import Count, Positive, Several
from manyviews.losses.assignment import assigned_cross_entropy
from manyviews.parts.branch import evaluating
from manyviews.parts.cluster import UNASSIGNED
from manyviews.parts.transport import Labels, due, transported


@dataclass(frozen=True, kw_only=True)
class SeLaConfig:
    """Defaults: yukimasano/self-label main.py, with the paper's ten heads.

    Attributes:
        clusters: K of each head, also its classes.
        heads: clusterings, each with a classifier and labels of its own.
        sharpness: lambda, the power that probabilities are raised to before transport.
        tolerance: of transport.
        labellings: how often samples get new labels, densely at first: at epochs
            E (j / (labellings - 1))^2, no more than once an epoch.
    """

    clusters: Several = 3000
    heads: Count = 10
    sharpness: Positive = 25.0
    tolerance: Positive = 0.1
    labellings: Several = 100


class SeLa(Method):
    """Predict labels that at times are given anew to all samples, equally many to each class."""

    needs: Mapping[str, int] = {"global": 1}

    def __init__(self, given: Given, config: SeLaConfig) -> None:
        super().__init__(given)
        self.config, self.backbone = config, given.encoder
        self.heads = nn.ModuleList(
            nn.Linear(given.encoder.dim, config.clusters) for _ in range(config.heads)
        )
        self.classes = Labels(config.heads, given.samples)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The mean over heads of the cross-entropy with the samples' labels."""
        h = flat(lambda x: self.backbone(x, tokens=False).pooled, batch.views["global"])
        losses = [
            assigned_cross_entropy(head(h), labels[batch.index], temperature=1.0)
            for head, labels in zip(self.heads, self.classes.items, strict=True)
        ]
        loss = torch.stack(losses).mean()
        return Step({"assigned": loss}, embedding=self.embedded(h[:, :2]))

    @torch.no_grad()
    def before_epoch(self, clock: Clock, embed_all: EmbedAll) -> None:
        """Where it is time, give all samples new labels."""
        if not due(clock, times=self.config.labellings, power=2.0):
            return
        rows = embed_all(self._embed)
        mine, labels = comm.share(rows), torch.zeros_like(self.classes.items)
        known = mine.sum(dim=1).isfinite()
        for head, out in zip(self.heads, labels, strict=True):
            kept = next(head.parameters())
            p = head(mine[known].to(kept.dtype)).double().softmax(dim=1)
            found = torch.full_like(known, UNASSIGNED, dtype=torch.long)
            found[known] = transported(
                p, sharpness=self.config.sharpness, tolerance=self.config.tolerance
            )
            comm.share(out).copy_(found)
        self.classes.items.copy_(comm.total(labels))

    def _embed(self, views: Mapping[str, Tensor]) -> Tensor:
        with evaluating(self):
            return wide(self.backbone(views[next(iter(self.encoders))], tokens=False).pooled)
