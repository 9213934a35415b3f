"""SeLa-v2. Caron et al. 2020, arXiv:2006.09882, appendix D; SeLa: Asano et al. 2020."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from manyviews.core import Batch, Clock, EmbedAll, Given, Group, Method, Step, comm, flat, wide
from manyviews.core.ranges import Count, Positive, Several, Share
from manyviews.losses.assignment import assigned_cross_entropy
from manyviews.losses.contrastive import unit
from manyviews.parts.bank import Bank
from manyviews.parts.branch import Branch, evaluating
from manyviews.parts.cluster import UNASSIGNED
from manyviews.parts.crops import encode_crops
from manyviews.parts.heads import mlp
from manyviews.parts.prototypes import Prototypes
from manyviews.parts.transport import Labels, transported


@dataclass(frozen=True, kw_only=True)
class SeLaV2Config:
    """Defaults: the paper's appendix, which has SwAV's numbers; the tolerance is SeLa's.

    Attributes:
        hidden: width of the projector's hidden layer.
        out: width of its output, and of the banks.
        prototypes: classes of each head; heads label the two views' banks in turn.
        temperature: of the predictions, and of the probabilities that labels are made from.
        sharpness: lambda, the power that probabilities are raised to before transport: the
            temperature over SwAV's epsilon.
        tolerance: of transport.
        frozen_until: share of training with fixed prototypes.
    """

    hidden: Count = 2048
    out: Count = 128
    prototypes: tuple[Several, ...] = (3000, 3000, 3000)
    temperature: Positive = 0.1
    sharpness: Positive = 2.0
    tolerance: Positive = 0.1
    frozen_until: Share = 0.0


class SeLaV2(Method):
    """Predict from every view a label that the last epoch's embeddings gave, equally many to each.

    Unlike centroids the prototypes are learnt, and the labels come from what they predict.
    """

    needs: Mapping[str, int] = {"global": 2, "local": 0}

    def __init__(self, given: Given, config: SeLaV2Config) -> None:
        super().__init__(given)
        self.config = config
        sizes = [given.encoder.dim, config.hidden, config.out]
        self.online = Branch(given.encoder, mlp(sizes))
        self.heads = nn.ModuleList(Prototypes(config.out, count) for count in config.prototypes)
        self.one = Bank(given.samples, config.out, momentum=0.0)
        self.two = Bank(given.samples, config.out, momentum=0.0)
        self.classes = Labels(len(config.prototypes), given.samples)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The mean over heads of the cross-entropy with the samples' labels."""
        h = encode_crops(self.online.encoder, batch.views)
        z = unit(flat(self.online.head, h))  # [B, V, P], global views first
        labels = self.classes.items[:, batch.index]
        losses = [
            assigned_cross_entropy(head(z), target, temperature=self.config.temperature)
            for head, target in zip(self.heads, labels, strict=True)
        ]
        count = batch.views["global"].shape[1]
        return Step(
            {"assigned": torch.stack(losses).mean()},
            embedding=self.embedded(h[:, :count]),
            projection=z[:, :count],
            fresh={"index": batch.index, "rows": z[:, :2].detach()},
        )

    def assign(self, images: Tensor) -> Tensor:
        """The first head's share [B, K] of each class in images [B, C, H, W]."""
        z = unit(self.online(images)[1])
        return (self.heads[0](z) / self.config.temperature).softmax(dim=-1)

    @torch.no_grad()
    def before_epoch(self, clock: Clock, embed_all: EmbedAll) -> None:
        """Label all samples anew from the banks; the first time fill them, both alike."""
        if not (self.classes.items != UNASSIGNED).any():
            rows = embed_all(self._embed)
            self.one.items.copy_(rows)
            self.two.items.copy_(rows)
        config, banks = self.config, (self.one, self.two)
        labels = torch.zeros_like(self.classes.items)
        for number, (head, out) in enumerate(zip(self.heads, labels, strict=True)):
            mine = comm.share(banks[number % 2].items)
            known = mine.sum(dim=1).isfinite()
            p = (head(mine[known]).double() / config.temperature).softmax(dim=1)
            found = torch.full_like(known, UNASSIGNED, dtype=torch.long)
            found[known] = transported(
                p, sharpness=config.sharpness, tolerance=config.tolerance, setting="prototypes"
            )
            comm.share(out).copy_(found)
        self.classes.items.copy_(comm.total(labels))

    def _embed(self, views: Mapping[str, Tensor]) -> Tensor:
        with evaluating(self):
            return unit(wide(self.online(views[next(iter(self.encoders))])[1]))

    def after_backward(self, step: Step, clock: Clock) -> None:
        """Stage the embeddings of the first two views."""
        for bank, rows in zip((self.one, self.two), step.fresh["rows"].unbind(1), strict=True):
            bank.stage(step.fresh["index"], rows)

    def after_step(self, clock: Clock) -> None:
        """The banks take in the step's embeddings; the prototypes go back on the sphere."""
        self.one.commit()
        self.two.commit()
        for head in self.heads:
            head.normalise_()  # pyright: ignore[reportCallIssue] - Prototypes, all of them

    def param_groups(self) -> list[Group]:
        """The prototypes may stay as they are at first."""
        online = [p for p in self.online.parameters() if p.requires_grad]
        return [
            Group(online),
            Group(list(self.heads.parameters()), frozen_until=self.config.frozen_until),
        ]
