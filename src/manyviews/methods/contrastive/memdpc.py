"""MemDPC. Han, Xie and Zisserman 2020, arXiv:2008.01065; TengdaHan/MemDPC."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from manyviews.core import Batch, Clock, Given, Method, Step, comm
from manyviews.core.ranges import Count, Positive, Several
from manyviews.losses.contrastive import cell_info_nce
from manyviews.parts.recurrent import GRU, foresee, over_times


@dataclass(frozen=True, kw_only=True)
class MemDPCConfig:
    """Defaults: the authors', TengdaHan/MemDPC memdpc/main.py, without its dropout.

    Attributes:
        predict: clips that are predicted, at either end of each video.
        slots: of the memory that all predictions are made of.
        both: also predict the first clips from the last ones.
        gain: of the orthogonal matrices that all but the slots begin with.
    """

    predict: Count = 3
    slots: Several = 1024
    both: bool = True
    gain: Positive = 0.1


class MemDPC(Method):
    """DPC whose predictions are mixtures of what a memory holds, forwards and backwards in time."""

    needs: Mapping[str, int] = {"global": 4}
    of_one = ("global",)

    def __init__(self, given: Given, config: MemDPCConfig) -> None:
        super().__init__(given)
        self.config = config
        self.needs = {"global": config.predict + 1}
        dim = given.encoder.dim
        self.backbone = given.encoder
        self.slots = nn.Parameter(torch.randn(config.slots, dim))
        self.along = nn.ModuleList(GRU(dim, dim) for _ in range(1 + config.both))
        self.address = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, config.slots))
        for layer in (*self.along.modules(), *self.address):
            if isinstance(layer, nn.Linear):
                nn.init.orthogonal_(layer.weight, config.gain)
                nn.init.zeros_(layer.bias)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The cross-entropies of finding each predicted cell among those of the global batch."""
        views, steps = batch.views["global"], self.config.predict
        features = self.backbone(views.flatten(0, 1))
        cells = over_times(features.tokens, self.backbone.grid).unflatten(0, views.shape[:2])
        losses: dict[str, Tensor] = {}
        for name, memory in zip(("forwards", "backwards"), self.along, strict=False):
            shown = cells if name == "forwards" else cells.flip(1)
            seen, hoped = shown.tensor_split([-steps], dim=1)  # [B, V, S, D]
            made = foresee(seen, cast(GRU, memory), self.recalled, steps=steps)
            losses[name] = cell_info_nce(made.flatten(1, 2), hoped.flatten(1, 2))
        candidates = len(comm.gather(batch.index)) * steps * cells.shape[2]
        floor = torch.stack(list(losses.values())).detach().mean() / math.log(candidates)
        pooled = features.pooled.unflatten(0, views.shape[:2])
        return Step(losses, self.embedded(pooled[:, :2]), watch={"contrastive_floor": floor})

    def recalled(self, state: Tensor) -> Tensor:
        """[B, S, D] states -> [B, S, D] mixtures of slots, which shares that sum to 1 weigh."""
        return self.address(state).softmax(dim=-1) @ self.slots
