"""NPID. Wu et al. 2018, arXiv:1805.01978; NPID++: Misra and van der Maaten 2020."""

from collections.abc import Mapping
from dataclasses import dataclass

from manyviews.core import Batch, Clock, EmbedAll, Given, Method, Step
from manyviews.core.ranges import Count, Decaying, Natural, NotNegative, Positive
from manyviews.losses.contrastive import unit
from manyviews.losses.nce import NoiseLoss, even, own_row
from manyviews.losses.regression import normalised_mse
from manyviews.parts.bank import Bank, Partition, settled
from manyviews.parts.branch import of_plain, together
from manyviews.parts.heads import mlp


@dataclass(frozen=True, kw_only=True)
class NPIDConfig:
    """Defaults: NPID on ImageNet, zhirongw/lemniscate.pytorch main.py. NPID++ has 32000 negatives.

    Attributes:
        loss: "nce" with a constant partition, or "info_nce", as the authors' later weights.
        temperature: of the scores.
        negatives: K, drawn from the bank anew for each sample.
        momentum: weight of a sample's old row in its new one.
        proximal: lambda, weight of the squared distance from a sample's row; the paper's term, off
            in the authors' code, which has the momentum instead.
        hidden: width of the head's hidden layer; 0 makes it linear.
        out: width of its output, and of the bank.
        filled: rows begin as what the untrained network makes of the samples, in a pass before the
            first step; at random, as in the authors' code, where it is not.
    """

    loss: NoiseLoss = "nce"
    temperature: Positive = 0.07
    negatives: Count = 4096
    momentum: Decaying = 0.5
    proximal: NotNegative = 0.0
    hidden: Natural = 0
    out: Count = 128
    filled: bool = False


class NPID(Method):
    """Every image is a class of its own, whose weights are what the bank remembers of it."""

    needs: Mapping[str, int] = {"global": 1}
    most: Mapping[str, int] = {"global": 1}

    def __init__(self, given: Given, config: NPIDConfig) -> None:
        super().__init__(given)
        self.config, self.backbone = config, given.encoder
        sizes = [given.encoder.dim, *[config.hidden] * (config.hidden > 0), config.out]
        self.head = mlp(sizes, norm=False)
        self.bank = Bank(given.samples, config.out, momentum=config.momentum)
        self.partition = Partition()

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """One view against its image's row and the rows of others."""
        config = self.config
        embedding, z = together(self.backbone, self.head, batch.views["global"][:, :1])
        z = unit(z)
        scores = self.bank.scores(
            z[:, 0],
            batch.index,
            count=config.negatives,
            temperature=config.temperature,
            step=clock.step,
        )
        partition = self.partition(scores)
        loss = own_row(config.loss, scores, partition=partition)
        floor = loss.detach() / even(config.loss, config.negatives)
        losses = {config.loss: loss}
        if config.proximal > 0:
            rows = self.bank.items[batch.index]
            losses["proximal"] = config.proximal * normalised_mse(z[:, 0], rows)
        return Step(
            losses,
            embedding=self.embedded(embedding),
            projection=z,
            fresh={"index": batch.index, "rows": z[:, 0].detach(), "partition": partition},
            watch={"contrastive_floor": settled(floor, clock)},
        )

    def before_epoch(self, clock: Clock, embed_all: EmbedAll) -> None:
        """Before the first step of all fill the bank, where that is asked for."""
        if self.config.filled and clock.step == 0:
            self.bank.fill(embed_all(of_plain(self, self.backbone, self.head)))

    def after_backward(self, step: Step, clock: Clock) -> None:
        """Stage the batch's rows; keep the first partition."""
        self.bank.stage(step.fresh["index"], step.fresh["rows"])
        self.partition.store(step.fresh["partition"])

    def after_step(self, clock: Clock) -> None:
        """The bank takes in the step's rows."""
        self.bank.commit()
