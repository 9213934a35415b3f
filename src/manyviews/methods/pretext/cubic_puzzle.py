"""Space-time cubic puzzles. Kim, Cho and Kweon 2019, arXiv:1811.09795."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from manyviews.core import Batch, Clock, Given, Method, Step, flat
from manyviews.core.ranges import Count
from manyviews.losses.classification import answer_std, classify
from manyviews.parts.puzzle import rank_of

PIECES = 4
KINDS = ("space", "time")


@dataclass(frozen=True, kw_only=True)
class CubicPuzzleConfig:
    """Settings of cubic puzzles; how pieces are cut belongs to the view plan.

    Attributes:
        hidden: width of what each piece becomes before all four are joined.
        shared: one classifier of the 24 orders for pieces of space and of time, or one for each.
    """

    hidden: Count = 512
    shared: bool = False


class CubicPuzzle(Method):
    """Tell in which order four pieces of a clip come: of its places, and of its times."""

    needs: Mapping[str, int] = {"space": 4, "space.order": 4, "time": 4, "time.order": 4}
    most: Mapping[str, int] = {"space": 4, "time": 4}
    of_one = KINDS

    def __init__(self, given: Given, config: CubicPuzzleConfig) -> None:
        super().__init__(given)
        self.backbone = given.encoder
        self.part_head = nn.Sequential(nn.Linear(given.encoder.dim, config.hidden), nn.ReLU())
        orders = math.factorial(PIECES)
        heads = [nn.Linear(PIECES * config.hidden, orders) for _ in KINDS[config.shared :]]
        self.heads = nn.ModuleList(heads)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The cross-entropy over the 24 orders of either kind, each piece encoded by itself."""
        pieces = torch.cat([batch.views[kind] for kind in KINDS], dim=1)  # [B, 8, ...]
        h = flat(lambda x: self.backbone(x, tokens=False).pooled, pieces)
        losses: dict[str, Tensor] = {}
        spread: list[Tensor] = []
        for number, (kind, parts) in enumerate(zip(KINDS, h.split(PIECES, dim=1), strict=True)):
            joined = self.part_head(parts).flatten(1)
            logits = self.heads[number % len(self.heads)](joined)
            spread.append(answer_std(logits))
            losses[kind] = classify(logits, rank_of(batch.cues[f"{kind}.order"])) / len(KINDS)
        over = torch.stack(list(losses.values())).sum() / math.log(math.factorial(PIECES))
        return Step(
            losses,
            embedding=self.embedded(h[:, :2]),
            watch={"over_guess": over.detach(), "answer_std": torch.stack(spread).mean()},
        )
