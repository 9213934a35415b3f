"""Jigsaw. Noroozi and Favaro 2016, arXiv:1603.09246; facebookresearch/vissl."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from manyviews.core import Batch, Clock, Given, Method, Step, flat
from manyviews.core.ranges import Count, Range
from manyviews.losses.classification import answer_std, classify
from manyviews.parts.heads import mlp
from manyviews.parts.norm import BatchNorm
from manyviews.parts.puzzle import far_apart, in_place, rank_of, rearranged

TILES = 9


@dataclass(frozen=True, kw_only=True)
class JigsawConfig:
    """Defaults: vissl configs/config/pretrain/jigsaw/jigsaw_8gpu_resnet.yaml, but standardised.

    Attributes:
        permutations: orders in which the tiles may lie, chosen far apart; the classes.
        hidden: width of what each tile becomes before all nine are joined.
        standardise: each tile loses its own mean and deviation, per channel (paper, section 4.2),
            so that neighbours cannot be told by their brightness.
    """

    permutations: Annotated[int, Range("from 2 to 362880, which is 9!", 2, 362880)] = 2000
    hidden: Count = 1000
    standardise: bool = True


class Jigsaw(Method):
    """Tell in which of a set of orders the nine tiles of an image lie."""

    needs: Mapping[str, int] = {"tiles": TILES, "tiles.order": TILES}
    of_one = ("tiles",)
    permutations: Tensor

    def __init__(self, given: Given, config: JigsawConfig) -> None:
        super().__init__(given)
        self.config, self.backbone = config, given.encoder
        self.part_head = nn.Sequential(
            nn.Linear(given.encoder.dim, config.hidden), BatchNorm(config.hidden), nn.ReLU()
        )
        self.head = mlp([TILES * config.hidden, config.permutations])
        orders = torch.from_numpy(far_apart(TILES, config.permutations))
        self.register_buffer("permutations", orders)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The cross-entropy over orders."""
        tiles, order = self.puzzle(batch)
        if self.config.standardise:
            tiles = standardised(tiles)
        h = flat(lambda x: self.backbone(x, tokens=False).pooled, tiles)  # [B, 9, D]
        logits = self.head(flat(self.part_head, h).flatten(1))
        loss = classify(logits, order)
        return Step(
            {"order": loss},
            embedding=self.embedded(h[:, :2]),
            watch={
                "over_guess": loss.detach() / math.log(len(self.permutations)),
                "answer_std": answer_std(logits),
            },
        )

    def puzzle(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Tiles [B, 9, ...] in one of the orders each, and [B] int64: which.

        The tiles come in one of 9! orders at random, whose number modulo the classes is the class.
        """
        drawn = batch.cues["tiles.order"]
        which = rank_of(drawn) % self.config.permutations
        cells = in_place(batch.views["tiles"], drawn)
        return rearranged(cells, self.permutations[which]), which


def standardised(tiles: Tensor) -> Tensor:
    """[..., S, S] less its mean over its deviation, per channel; what is all alike becomes 0."""
    mean, std = tiles.mean(dim=(-2, -1), keepdim=True), tiles.std(dim=(-2, -1), keepdim=True)
    return (tiles - mean) / torch.where(std > 0, std, 1.0)
