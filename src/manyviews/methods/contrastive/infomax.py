"""Deep InfoMax. Hjelm et al. 2019, arXiv:1808.06670."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from manyviews.core import Batch, Clock, Given, Method, Step
from manyviews.core.ranges import Count, NotNegative
from manyviews.losses.infomax import jensen_shannon, place_info_nce
from manyviews.parts.heads import Lift, mlp
from manyviews.parts.teaching import token_width


@dataclass(frozen=True, kw_only=True)
class DeepInfoMaxConfig:
    """Defaults: the local objective, rdevon/DIM cortex_DIM/models/dim.py.

    Attributes:
        bound: on the information, Jensen and Shannon's ("jsd") or InfoNCE ("nce").
        local: beta, weight of the information between the whole and each place of the map.
        whole: alpha, of that between the whole and the map in one.
        out: units in which the two are compared.
    """

    bound: Literal["jsd", "nce"] = "jsd"
    local: NotNegative = 1.0
    whole: NotNegative = 0.0
    out: Count = 2048

    def wrong(self) -> Iterator[tuple[str, object, str]]:
        """Nothing to learn."""
        if not self.local and not self.whole:
            yield "local", self.local, "a number above 0, or --method.whole above 0"


class DeepInfoMax(Method):
    """Let an encoder's output tell of every place of the image, and not of other images."""

    needs: Mapping[str, int] = {"global": 1}
    most: Mapping[str, int] = {"global": 1}

    def __init__(self, given: Given, config: DeepInfoMaxConfig) -> None:
        super().__init__(given)
        encoder, out = given.encoder, config.out
        self.config, self.backbone = config, encoder
        width = token_width(encoder, instead="Choose another --encoder.name.")
        self.head = Lift(encoder.dim, out, norm=True, last="layer")
        self.of_places = Lift(width, out, norm=True, last="layer") if config.local else None
        self.of_map = mlp([encoder.num_tokens * width, out, out]) if config.whole else None

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """Minus the bounds, of one view."""
        features = self.backbone(batch.views["global"][:, 0])
        whole, losses = self.head(features.pooled), dict[str, Tensor]()
        bound = jensen_shannon if self.config.bound == "jsd" else place_info_nce
        if self.of_places is not None:
            losses["local"] = self.config.local * bound(whole, self.of_places(features.tokens))
        if self.of_map is not None:
            map_ = self.of_map(features.tokens.flatten(1))
            losses["whole"] = self.config.whole * bound(whole, map_[:, None])
        return Step(losses, self.embedded(features.pooled[:, None]), projection=whole[:, None])
