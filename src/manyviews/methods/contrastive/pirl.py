"""PIRL. Misra and van der Maaten 2020, arXiv:1912.01991; facebookresearch/vissl."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from manyviews.core import Batch, Clock, EmbedAll, Given, Method, Step
from manyviews.core.ranges import Count, Decaying, Natural, Positive, Share
from manyviews.losses.contrastive import unit
from manyviews.losses.nce import NoiseLoss, even, own_row
from manyviews.parts.bank import Bank, Partition, settled
from manyviews.parts.branch import of_plain
from manyviews.parts.heads import mlp

_PARTS = {"jigsaw": ("tiles", 9), "rotation": ("turned", 1)}
"""Transform -> the family that makes it, and its views of a sample."""


@dataclass(frozen=True, kw_only=True)
class PIRLConfig:
    """Defaults: vissl configs/config/pretrain/pirl/pirl_jigsaw_4node_resnet50.yaml.

    The improved variant (models/resnet50_mlphead.yaml) has loss "info_nce", temperature 0.1 and
    hidden 2048.

    Attributes:
        transform: "jigsaw" reads nine shuffled tiles ("tiles"), "rotation" one turned view
            ("turned").
        loss: "nce" with a constant partition, or "info_nce".
        temperature: of the scores.
        negatives: K, drawn from the bank anew for each sample and branch.
        momentum: weight of a sample's old row in its new one.
        hidden: width of the heads' hidden layer; 0 makes them linear.
        out: width of their output, and of the bank.
        transformed: weight of the transformed branch; the image's has the rest.
        filled: rows begin as what the untrained network makes of the samples, in a pass before the
            first step; at random, as in the authors' code, where it is not.
    """

    transform: Literal["jigsaw", "rotation"] = "jigsaw"
    loss: NoiseLoss = "nce"
    temperature: Positive = 0.07
    negatives: Count = 32000
    momentum: Decaying = 0.5
    hidden: Natural = 0
    out: Count = 128
    transformed: Share = 0.5
    filled: bool = False


class PIRL(Method):
    """An image and its transform both have to pick out what was remembered of the image."""

    needs: Mapping[str, int] = {"global": 1, "tiles": 9}
    of_one = ("tiles",)

    def __init__(self, given: Given, config: PIRLConfig) -> None:
        super().__init__(given)
        self.config, self.backbone = config, given.encoder
        self.family, parts = _PARTS[config.transform]
        self.needs = self.most = {"global": 1, self.family: parts}
        sizes = [given.encoder.dim, *[config.hidden] * (config.hidden > 0), config.out]
        self.head = mlp(sizes, norm=False)
        self.part_head = mlp(sizes, norm=False)
        if config.hidden and parts > 1:  # as vissl has it, before the tiles are joined
            self.part_head.append(nn.ReLU())
        self.join = nn.Linear(parts * config.out, config.out) if parts > 1 else nn.Identity()
        self.bank = Bank(given.samples, config.out, momentum=config.momentum)
        self.partition = Partition()

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """Both branches' loss against the bank; the partition is that of the transformed one."""
        image, parts = batch.views["global"][:, 0], batch.views[self.family]
        h_parts = self.backbone(parts.flatten(0, 1), tokens=False).pooled
        h = self.backbone(image, tokens=False).pooled
        joined = self.join(self.part_head(h_parts).view(len(h), -1))
        z = [unit(joined), unit(self.head(h))]
        config = self.config
        drawn = {"count": config.negatives, "step": clock.step}
        every = [
            self.bank.scores(x, batch.index, branch=b, temperature=config.temperature, **drawn)
            for b, x in enumerate(z)
        ]
        partition = self.partition(every[0])
        losses = [own_row(config.loss, s, partition=partition) for s in every]
        one, two = config.transformed * losses[0], (1 - config.transformed) * losses[1]
        floor = (one + two).detach() / even(config.loss, config.negatives)
        return Step(
            {"transformed": one, "image": two},
            embedding=self.embedded(h[:, None]),
            projection=torch.stack(z[::-1], dim=1),
            fresh={"index": batch.index, "rows": z[1].detach(), "partition": partition},
            watch={"contrastive_floor": settled(floor, clock)},
        )

    def before_epoch(self, clock: Clock, embed_all: EmbedAll) -> None:
        """Before the first step of all fill the bank, where that is asked for."""
        if self.config.filled and clock.step == 0:
            self.bank.fill(embed_all(of_plain(self, self.backbone, self.head)))

    def after_backward(self, step: Step, clock: Clock) -> None:
        """Stage the image branch's rows; keep the first partition."""
        self.bank.stage(step.fresh["index"], step.fresh["rows"])
        self.partition.store(step.fresh["partition"])

    def after_step(self, clock: Clock) -> None:
        """The bank takes in the step's rows."""
        self.bank.commit()
