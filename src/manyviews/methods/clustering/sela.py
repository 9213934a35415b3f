"""SeLa. Asano et al. 2020, arXiv:1911.05371; yukimasano/self-label."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from manyviews.core import Batch, Clock, EmbedAll, Given, Method, Step, comm, flat, wide
from manyviews.core.ranges import Count, Positive, Several
from manyviews.losses.assignment import assigned_cross_entropy
from manyviews.parts.cluster import UNASSIGNED
from manyviews.parts.transport import transported


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


class Labels(nn.Module):
    """Each sample's class for each head.

    Attributes:
        of_samples: what it holds means nothing on other data.
        never_copied: it is written between epochs only, so undoing a step needs no copy.
    """

    of_samples = True
    never_copied = True
    items: Tensor

    def __init__(self, heads: int, samples: int) -> None:
        super().__init__()
        self.register_buffer("items", torch.full((heads, samples), UNASSIGNED))


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
        if not self.due(clock):
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

    def due(self, clock: Clock) -> bool:
        """Whether a labelling's time came since the last epoch began."""
        done = [math.sqrt(max(0, e) / max(1, clock.epochs)) for e in (clock.epoch - 1, clock.epoch)]
        before, now = (math.floor(share * (self.config.labellings - 1) + 1e-9) for share in done)
        return clock.epoch == 0 or now > before

    def _embed(self, views: Mapping[str, Tensor]) -> Tensor:
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        h = wide(self.backbone(views[next(iter(self.encoders))], tokens=False).pooled)
        for module, mode in modes:
            module.training = mode
        return h
