"""CMA, AVID's second stage. Morgado et al. 2021, arXiv:2004.12943; facebookresearch/AVID-CMA."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from manyviews.core import Batch, Clock, EmbedAll, Given, Method, Step, wide
from manyviews.core.ranges import Count, Decaying, Positive
from manyviews.losses.contrastive import unit
from manyviews.losses.nce import nce, scores
from manyviews.parts.agreement import UNMINED, Agreement, agreeing
from manyviews.parts.bank import Bank, Partition
from manyviews.parts.branch import Branch, evaluating
from manyviews.parts.heads import mlp

_PAIRS = {
    "cross": (("video", "audio"), ("audio", "video")),
    "within": (("video", "video"), ("audio", "audio")),
}
"""What queries are compared with -> pairs of a query and a bank."""


@dataclass(frozen=True, kw_only=True)
class CMAConfig:
    """Defaults: facebookresearch/AVID-CMA InstX-N1024-PosW-N64-Top32.yaml of configs/main.

    Attributes:
        agreement: by which similarity positives are mined; see `parts.agreement.agreeing`.
        compare: the bank that positives lie in: the query's own modality's, or the other's.
        positives: mined for each sample.
        remine: epochs from one mining to the next.
        temperature: of the scores.
        negatives: K, drawn anew for each sample outside its positives.
        negatives_within: the first so many of them, where positives are compared within.
        momentum: weight of a sample's old row in its new one.
        hidden: width of the heads' two hidden layers.
        out: width of their output, and of the banks.
    """

    agreement: Agreement = "consensus"
    compare: Literal["within", "cross"] = "within"
    positives: Count = 32
    remine: Count = 5
    temperature: Positive = 0.07
    negatives: Count = 1024
    negatives_within: Count = 64
    momentum: Decaying = 0.5
    hidden: Count = 512
    out: Count = 128


class CMA(Method):
    """AVID, and beside it: draw near in each modality what both modalities say is alike.

    Goes on from a run of AVID, whose banks say what is alike; without them they are filled by the
    networks as they are. Its own buffer is written between epochs only.

    Attributes:
        found: [samples, positives] int64 buffer, sorted; -1 before the first mining.
    """

    needs: Mapping[str, int] = {"video": 1, "audio": 1}
    most = needs
    trains = ("video", "audio")
    never_copied = True
    of_samples = True
    found: Tensor

    def __init__(self, given: Given, config: CMAConfig) -> None:
        super().__init__(given)
        self.config = config
        self.branches, self.banks = nn.ModuleDict(), nn.ModuleDict()
        for name in self.needs:
            encoder = given.encoders[name]
            head = mlp([encoder.dim, config.hidden, config.hidden, config.out], norm=False)
            self.branches[name] = Branch(encoder, head)
            self.banks[name] = Bank(given.samples, config.out, momentum=config.momentum)
        self.partition = Partition()
        most = min(config.positives, given.samples - 2)  # one is left to be a negative
        self.register_buffer("found", torch.full((given.samples, most), UNMINED))

    @torch.no_grad()
    def before_epoch(self, clock: Clock, embed_all: EmbedAll) -> None:
        """Mine the positives anew, every few epochs; fill the banks first if nothing is in them."""
        mined = bool((self.found != UNMINED).any())
        if mined and clock.epoch % self.config.remine:
            return
        if not mined and not self.partition.value > 0:
            rows = embed_all(self._embed).chunk(2, dim=1)
            for name, own in zip(self.needs, rows, strict=True):
                self._bank(name).items.copy_(own)
        banks = (self._bank(name).items for name in self.needs)
        self.found.copy_(agreeing(*banks, count=self.found.shape[1], by=self.config.agreement))

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """Half of it NCE with each sample's own row as the positive, half with its positives."""
        made = {k: self.branches[k](batch.views[k][:, 0]) for k in self.needs}
        z, index = {k: unit(out) for k, (_, out) in made.items()}, batch.index
        alike = self.found[index]
        drawn = self._bank("video").negatives(
            index, count=self.config.negatives, step=clock.step, avoid=alike
        )
        own = [self._scores(z[q], bank, index[:, None], drawn) for q, bank in _PAIRS["cross"]]
        partition = self.partition(own[0][1])
        few = self.config.negatives_within if self.config.compare == "within" else drawn.shape[1]
        pairs = _PAIRS[self.config.compare]
        sets = [self._scores(z[q], bank, alike, drawn[:, :few]) for q, bank in pairs]
        losses = {
            kind: torch.stack([nce(*one, partition=partition) for one in both]).mean() / 2
            for kind, both in (("instances", own), ("positives", sets))
        }
        return Step(
            losses,
            embedding={k: f.pooled[:, None].detach() for k, (f, _) in made.items()},
            projection=torch.stack(list(z.values()), dim=1),
            fresh={"index": index, "partition": partition} | {k: x.detach() for k, x in z.items()},
        )

    def compared(self, views: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Unit vectors [B, P] of plain views of each, behind its head."""
        return {name: unit(wide(self.branches[name](views[name])[1])) for name in self.needs}

    def _scores(self, z: Tensor, bank: str, own: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """[B, P] and [B, K]: of rows of its own and of drawn ones."""
        rows, items = torch.cat([own, drawn], dim=1), self._bank(bank).items
        found = scores(z, items, rows, temperature=self.config.temperature)
        return found[:, : own.shape[1]], found[:, own.shape[1] :]

    def _embed(self, views: Mapping[str, Tensor]) -> Tensor:
        """[B, 2 out] of plain views, video's first; in evaluation mode."""
        with evaluating(self):
            return torch.cat(list(self.compared(views).values()), dim=1)

    def _bank(self, name: str) -> Bank:
        return cast(Bank, self.banks[name])

    def after_backward(self, step: Step, clock: Clock) -> None:
        """Stage both modalities' rows; keep the first partition."""
        for name in self.needs:
            self._bank(name).stage(step.fresh["index"], step.fresh[name])
        self.partition.store(step.fresh["partition"])

    def after_step(self, clock: Clock) -> None:
        """The banks take in the step's rows."""
        for name in self.needs:
            self._bank(name).commit()
