"""Order of clips. Misra et al. 2016, arXiv:1603.08561; Xu et al. 2019 (VCOP); Lee et al. 2017."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from manyviews.core import Batch, Clock, Given, Method, Step, flat
from manyviews.core.ranges import Count, Range
from manyviews.losses.classification import answer_std, classify


@dataclass(frozen=True, kw_only=True)
class ClipOrderConfig:
    """Defaults: xudejing/video-clip-order-prediction models/vcopn.py, without its dropout.

    Attributes:
        clips: n, of each sample.
        hidden: width of what each pair of clips becomes.
        answer: which of the n! orders it is ("sort"), or which up to the direction of time, n! / 2
            ("either-way", Lee et al.), or whether it is that of time, in either direction
            ("verify", Misra et al.).
    """

    clips: Annotated[int, Range("from 2 to 5", 2, 5)] = 3
    hidden: Count = 512
    answer: Literal["sort", "either-way", "verify"] = "sort"

    def wrong(self) -> Iterator[tuple[str, object, str]]:
        """Two clips, which are in order either way."""
        if self.clips < 3 and self.answer != "sort":
            yield "clips", self.clips, f"3 or more, as the answer is {self.answer}"


class ClipOrder(Method):
    """Tell in which order the clips of a video are shown; every video is seen in all orders."""

    needs: Mapping[str, int] = {"global": 3}
    most: Mapping[str, int] = {"global": 3}
    of_one = ("global",)
    pairs: Tensor
    classes: Tensor

    def __init__(self, given: Given, config: ClipOrderConfig) -> None:
        super().__init__(given)
        self.needs = self.most = {"global": config.clips}
        self.backbone = given.encoder
        orders = list(permutations(range(config.clips)))
        classes = [_class(order, orders, config.answer) for order in orders]
        pairs = [[(a, b) for a, b in combinations(order, 2)] for order in orders]
        self.register_buffer("pairs", torch.tensor(pairs), persistent=False)
        self.register_buffer("classes", torch.tensor(classes), persistent=False)
        self.pair_head = nn.Sequential(nn.Linear(2 * given.encoder.dim, config.hidden), nn.ReLU())
        joined = len(pairs[0]) * config.hidden
        self.head = nn.Linear(joined, max(classes) + 1)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The cross-entropy over all orders of every sample; each clip is encoded once."""
        views = batch.views["global"][:, : self.needs["global"]]
        h = flat(lambda x: self.backbone(x, tokens=False).pooled, views)  # [B, n, D]
        n = h.shape[1]
        both = torch.cat([h[:, :, None].expand(-1, -1, n, -1), h[:, None].expand(-1, n, -1, -1)], 3)
        seen = self.pair_head(both)  # [B, n, n, P]: clip a before clip b
        joined = seen[:, self.pairs[..., 0], self.pairs[..., 1]].flatten(2)  # [B, n!, pairs * P]
        target = self.classes.expand(len(h), -1)
        logits = self.head(joined)
        loss = classify(logits, target)
        share = self.classes.bincount() / len(self.classes)
        return Step(
            {"order": loss},
            self.embedded(h[:, :1]),
            watch={
                "over_guess": loss.detach() / -share.xlogy(share).sum(),
                "answer_std": answer_std(logits),
            },
        )


def _class(order: tuple[int, ...], orders: list[tuple[int, ...]], answer: str) -> int:
    """What is to be said of an order of clips, of all orders in the dictionary's order."""
    back = order[::-1]
    if answer == "verify":
        return int(orders[0] in (order, back))
    if answer == "either-way":
        kept = [one for one in orders if one[0] < one[-1]]
        return kept.index(min(order, back))
    return orders.index(order)
