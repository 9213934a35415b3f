"""CMC. Tian et al. 2020, arXiv:1906.05849; HobbitLong/CMC."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import cast

import torch
from torch import Tensor, nn

from manyviews.core import Batch, Clock, Given, Method, Step, UsageError
from manyviews.core.ranges import Count, Decaying, Natural, Positive
from manyviews.losses.contrastive import unit
from manyviews.losses.nce import NoiseLoss, even, own_row, scores
from manyviews.parts.bank import Bank, Partition, settled
from manyviews.parts.branch import Branch
from manyviews.parts.heads import mlp


@dataclass(frozen=True, kw_only=True)
class CMCConfig:
    """Defaults: HobbitLong/CMC train_CMC.py.

    Attributes:
        core: the encoder that all others are compared with, and they with it; "" compares every
            two of them, the full graph.
        loss: "nce" with a constant partition for each pair, or "info_nce" (their --softmax).
        temperature: of the scores.
        negatives: K, drawn from the banks anew for each sample.
        momentum: weight of a sample's old row in its new one.
        hidden: width of the heads' hidden layer; 0 makes them linear.
        out: width of their output, and of the banks.
    """

    core: str = ""
    loss: NoiseLoss = "nce"
    temperature: Positive = 0.07
    negatives: Count = 16384
    momentum: Decaying = 0.5
    hidden: Natural = 0
    out: Count = 128


class CMC(Method):
    """What one encoder sees of an image has to pick out what was remembered of the others' parts.

    It trains L and ab, or any two or more encoders, each of which sees another part of an image.
    """

    needs: Mapping[str, int] = {"global": 1}
    most: Mapping[str, int] = {"global": 1}
    trains = ("L", "ab")

    def __init__(self, given: Given, config: CMCConfig) -> None:
        if len(given.encoders) > 1:
            self.trains = tuple(given.encoders)
        super().__init__(given)
        if config.core and config.core not in self.trains:
            raise UsageError(
                f"CMC has no encoder {config.core!r} to be the core; there are "
                f"{', '.join(self.trains)}. Set --method.core to one of them."
            )
        self.config = config
        self.branches, self.banks = nn.ModuleDict(), nn.ModuleDict()
        for name, encoder in given.encoders.items():
            sizes = [encoder.dim, *[config.hidden] * (config.hidden > 0), config.out]
            self.branches[name] = Branch(encoder, mlp(sizes, norm=False))
            self.banks[name] = Bank(given.samples, config.out, momentum=config.momentum)
        self.pairs = {
            f"{query}-{bank}": (query, bank)
            for query, bank in permutations(self.trains, 2)
            if config.core in ("", query, bank)
        }
        self.partitions = nn.ModuleDict({pair: Partition() for pair in self.pairs})

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The sum over pairs of the loss of one encoder's queries against another's bank."""
        view, config = batch.views["global"][:, 0], self.config
        found = {name: self.branches[name](view) for name in self.trains}
        z = {name: unit(out) for name, (_, out) in found.items()}
        index, losses, kept = self._rows(batch.index, clock), {}, {}
        for pair, (query, bank) in self.pairs.items():
            items = self._bank(bank).items
            every = scores(z[query], items, index, temperature=config.temperature)
            kept[pair] = self.partitions[pair](every)
            losses[pair] = own_row(config.loss, every, partition=kept[pair])
        mean = torch.stack(list(losses.values())).mean().detach()
        floor = mean / even(config.loss, config.negatives)
        return Step(
            losses,
            embedding={k: f.pooled[:, None].detach() for k, (f, _) in found.items()},
            projection=torch.stack(list(z.values()), dim=1),
            fresh={"index": batch.index} | kept | {k: x.detach() for k, x in z.items()},
            watch={"contrastive_floor": settled(floor, clock)},
        )

    def _rows(self, index: Tensor, clock: Clock) -> Tensor:
        """[B, 1 + K], the sample first; all pairs share their negatives, as the authors'."""
        bank = self._bank(self.trains[0])
        drawn = bank.negatives(index, count=self.config.negatives, step=clock.step, own=True)
        return torch.cat([index[:, None], drawn], dim=1)

    def _bank(self, name: str) -> Bank:
        return cast(Bank, self.banks[name])

    def after_backward(self, step: Step, clock: Clock) -> None:
        """Stage every encoder's rows; keep the first partitions."""
        for name in self.trains:
            self._bank(name).stage(step.fresh["index"], step.fresh[name])
        for pair in self.pairs:
            cast(Partition, self.partitions[pair]).store(step.fresh[pair])

    def after_step(self, clock: Clock) -> None:
        """The banks take in the step's rows."""
        for name in self.trains:
            self._bank(name).commit()
