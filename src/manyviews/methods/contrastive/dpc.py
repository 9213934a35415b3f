"""DPC. Han et al. 2019, arXiv:1909.04656; TengdaHan/DPC."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from manyviews.core import Batch, Clock, Given, Method, Step, comm
from manyviews.core.ranges import Count
from manyviews.losses.contrastive import cell_info_nce
from manyviews.parts.recurrent import GRU, foresee, over_times


@dataclass(frozen=True, kw_only=True)
class DPCConfig:
    """Defaults: the authors', TengdaHan/DPC dpc/main.py, without its dropout.

    Attributes:
        predict: clips that are predicted, the last ones of each video.
    """

    predict: Count = 3


class DPC(Method):
    """Predict what stands at each place of the next clips, and find it among all that there is."""

    needs: Mapping[str, int] = {"global": 4}
    of_one = ("global",)

    def __init__(self, given: Given, config: DPCConfig) -> None:
        super().__init__(given)
        self.config = config
        self.needs = {"global": config.predict + 1}
        dim = given.encoder.dim
        self.backbone = given.encoder
        self.memory = GRU(dim, dim)
        self.predictor = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))
        for layer in self.predictor:
            if isinstance(layer, nn.Linear):
                nn.init.orthogonal_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The cross-entropy of finding each predicted cell among those of the global batch."""
        views = batch.views["global"]
        features = self.backbone(views.flatten(0, 1))
        cells = over_times(features.tokens, self.backbone.grid).unflatten(0, views.shape[:2])
        seen, hoped = cells.tensor_split([-self.config.predict], dim=1)  # [B, V, S, D]
        made = foresee(seen, self.memory, self.predictor, steps=self.config.predict)
        loss = cell_info_nce(made.flatten(1, 2), hoped.flatten(1, 2))
        candidates = len(comm.gather(batch.index)) * hoped.shape[1] * hoped.shape[2]
        return Step(
            {"info_nce": loss},
            self.embedded(features.pooled.unflatten(0, views.shape[:2])[:, :2]),
            watch={"contrastive_floor": loss.detach() / math.log(candidates)},
        )
