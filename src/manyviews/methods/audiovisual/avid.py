"""AVID. Morgado et al. 2021, arXiv:2004.12943; facebookresearch/AVID-CMA."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from manyviews.core import Batch, Clock, Given, Method, Step
from manyviews.core.ranges import Count, Decaying, Positive
from manyviews.losses.contrastive import unit
from manyviews.losses.nce import nce, scores
from manyviews.parts.bank import Bank, Partition
from manyviews.parts.branch import Branch
from manyviews.parts.heads import mlp

_PAIRS = {
    "cross": (("video", "audio"), ("audio", "video")),
    "self": (("video", "video"), ("audio", "audio")),
}
"""Term -> pairs of a query and the bank that it is compared with."""


@dataclass(frozen=True, kw_only=True)
class AVIDConfig:
    """Defaults: facebookresearch/AVID-CMA configs/main/avid/kinetics/Cross-N1024.yaml.

    Attributes:
        terms: "cross" compares each modality with the other's bank, "self" with its own, "joint"
            takes the mean of both.
        temperature: of the scores.
        negatives: K, drawn anew for each sample, never the sample itself.
        momentum: weight of a sample's old row in its new one.
        hidden: width of the heads' two hidden layers.
        out: width of their output, and of the banks.
    """

    terms: Literal["cross", "self", "joint"] = "cross"
    temperature: Positive = 0.07
    negatives: Count = 1024
    momentum: Decaying = 0.5
    hidden: Count = 512
    out: Count = 128


class AVID(Method):
    """A clip's pictures have to pick out what was remembered of its sound, and the reverse."""

    needs: Mapping[str, int] = {"video": 1, "audio": 1}
    most = needs
    trains = ("video", "audio")

    def __init__(self, given: Given, config: AVIDConfig) -> None:
        super().__init__(given)
        self.config = config
        self.branches, self.banks = nn.ModuleDict(), nn.ModuleDict()
        for name in self.needs:
            encoder = given.encoders[name]
            head = mlp([encoder.dim, config.hidden, config.hidden, config.out], norm=False)
            self.branches[name] = Branch(encoder, head)
            self.banks[name] = Bank(given.samples, config.out, momentum=config.momentum)
        self.partition = Partition()

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """NCE of each query against a bank; the partition is that of the first pair's negatives."""
        found = {k: self.branches[k](batch.views[k][:, 0]) for k in self.needs}
        z = {k: unit(out) for k, (_, out) in found.items()}
        index = self._rows(batch.index, clock)
        kinds = ["cross", "self"] if self.config.terms == "joint" else [self.config.terms]
        compared = {
            kind: [self._scores(z[query], bank, index) for query, bank in _PAIRS[kind]]
            for kind in kinds
        }
        partition = self.partition(compared[kinds[0]][0][:, 1:])
        losses: dict[str, Tensor] = {}
        for kind, pairs in compared.items():
            both = [nce(s[:, 0], s[:, 1:], partition=partition) for s in pairs]
            losses[kind] = torch.stack(both).mean() / len(kinds)
        return Step(
            losses,
            embedding={k: f.pooled[:, None].detach() for k, (f, _) in found.items()},
            projection=torch.stack(list(z.values()), dim=1),
            fresh={"index": batch.index, "partition": partition}
            | {k: x.detach() for k, x in z.items()},
        )

    def compared(self, views: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Unit vectors [B, P] of plain views of each, behind its head."""
        return {name: unit(self.branches[name](views[name])[1]) for name in self.needs}

    def _rows(self, index: Tensor, clock: Clock) -> Tensor:
        """[B, 1 + K], the sample first; all terms share their negatives."""
        drawn = self._bank("video").negatives(
            index, count=self.config.negatives, step=clock.step, own=False
        )
        return torch.cat([index[:, None], drawn], dim=1)

    def _scores(self, z: Tensor, bank: str, index: Tensor) -> Tensor:
        return scores(z, self._bank(bank).items, index, temperature=self.config.temperature)

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
