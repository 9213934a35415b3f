"""Context prediction. Doersch et al. 2015, arXiv:1505.05192; cdoersch/deepcontext."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from manyviews.core import Batch, Clock, Given, Method, Step, flat
from manyviews.core.ranges import Count
from manyviews.losses.classification import answer_std, classify
from manyviews.parts.heads import mlp
from manyviews.parts.puzzle import in_place

TILES, CENTRE = 9, 4
NEIGHBOURS = [cell for cell in range(TILES) if cell != CENTRE]
"""Cells row by row; the place among these eight is the class."""


@dataclass(frozen=True, kw_only=True)
class ContextConfig:
    """Defaults: open-mmlab/mmselfsup configs/selfsup/relative_loc, but for `colour`.

    Attributes:
        hidden: width of the layer that sees both tiles.
        colour: against the lens, whose colours shift outwards from the middle of a photo: "project"
            takes away what lies along green less magenta, "drop" leaves each tile one of its
            channels (paper, section 3.1), "keep" leaves all.
    """

    hidden: Count = 4096
    colour: Literal["project", "drop", "keep"] = "project"


class Context(Method):
    """Tell from two tiles of an image where the one lies around the other."""

    needs: Mapping[str, int] = {"tiles": TILES, "tiles.order": TILES}
    of_one = ("tiles",)

    def __init__(self, given: Given, config: ContextConfig) -> None:
        super().__init__(given)
        self.config, self.backbone = config, given.encoder
        self.head = mlp([2 * given.encoder.dim, config.hidden, len(NEIGHBOURS)])

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The cross-entropy over the centre's eight neighbours, all of them."""
        shown = batch.views["tiles"]
        if shown.shape[2] == 3:  # all of this is about red, green and blue
            shown = self._coloured(shown)
        tiles = in_place(shown, batch.cues["tiles.order"])
        h = flat(lambda x: self.backbone(x, tokens=False).pooled, tiles)  # [B, 9, D]
        around = h[:, NEIGHBOURS]
        pairs = torch.cat([h[:, [CENTRE]].expand_as(around), around], dim=-1)
        logits = flat(self.head, pairs)
        place = torch.arange(len(NEIGHBOURS), device=h.device).expand(logits.shape[:2])
        embedding = self.embedded(h[:, [CENTRE, 0]])
        loss = classify(logits, place)
        return Step(
            {"place": loss},
            embedding=embedding,
            watch={
                "over_guess": loss.detach() / math.log(len(NEIGHBOURS)),
                "answer_std": answer_std(logits),
            },
        )

    def _coloured(self, shown: Tensor) -> Tensor:
        """[B, 9, 3, S, S], in the order in which they came."""
        if self.config.colour == "drop":
            return one_channel(shown)
        if self.config.colour == "keep":
            return shown
        zero = shown.new_zeros(3, 1, 1)
        mean = self.backbone.input.restore(zero)
        std = self.backbone.input.restore(zero + 1) - mean
        return projected(shown * std) / std


def projected(colours: Tensor) -> Tensor:
    """Colours [..., 3, S, S] less what lies along a = (-1, 2, -1): x - a (a . x) / (a . a)."""
    a = colours.new_tensor([-1.0, 2.0, -1.0]).view(3, 1, 1)
    return colours - a * (a * colours).sum(dim=-3, keepdim=True) / 6


def one_channel(shown: Tensor) -> Tensor:
    """[B, V, 3, S, S]: tile v keeps channel v mod 3, the others become their mean, 0.

    Tiles come in random order, so which channel is kept tells nothing of the cell.
    """
    channel = torch.arange(shown.shape[1], device=shown.device) % 3
    kept = nn.functional.one_hot(channel, 3).to(shown.dtype)
    return shown * kept[:, :, None, None]
