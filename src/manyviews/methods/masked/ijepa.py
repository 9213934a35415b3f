"""I-JEPA. Assran et al. 2023, arXiv:2301.08243; facebookresearch/ijepa."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch.nn.functional as F

from manyviews.core import Batch, Clock, Encoder, Given, Method, Step, wide
from manyviews.core.ranges import SHARE, Count
from manyviews.core.schedules import Ramp
from manyviews.losses.reconstruction import blockwise_smooth_l1
from manyviews.parts.dropout import without_dropout
from manyviews.parts.masking import check_views, places, square_patch, take, visible
from manyviews.parts.predictor import Predictor
from manyviews.parts.targets import EMA


@dataclass(frozen=True, kw_only=True)
class IJEPAConfig:
    """Settings of I-JEPA; context and targets belong to the view plan.

    Attributes:
        width: of the predictor.
        depth: of the predictor, in blocks.
        heads: of the predictor; the authors take as many as the encoder has.
        momentum: share of the old target encoder that an update keeps.
    """

    width: Count = 384
    depth: Count = 12
    heads: Count = 16
    momentum: Annotated[Ramp, SHARE] = Ramp(0.996, 1.0, fraction=1.0)


class IJEPA(Method):
    """From one part of an image predict what a slow encoder makes of four others."""

    needs: Mapping[str, int] = {"global": 1, "global.context": 1, "global.targets": 1}
    tokens = True

    def __init__(self, given: Given, config: IJEPAConfig) -> None:
        super().__init__(given)
        encoder = given.encoder
        square_patch(encoder, "I-JEPA")
        self.online = encoder
        self.predictor = Predictor(
            encoder.dim,
            grid=(encoder.grid[0], encoder.grid[1]),
            width=config.width,
            depth=config.depth,
            heads=config.heads,
        )
        self.target = EMA(encoder, config.momentum)
        without_dropout(self.target)
        self.config = config

    @property
    def encoders(self) -> Mapping[str, Encoder]:
        """The target encoder, as the authors evaluate."""
        return dict.fromkeys(super().encoders, self.target.copy)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The error of the predicted tokens of all target blocks."""
        views = batch.views["global"]
        images = views.flatten(0, 1)
        context = batch.cues["global.context"].flatten(0, 1)
        blocks = batch.cues["global.targets"].flatten(0, 1)  # [B V, M, N]
        check_views(self.online, images, context, "I-JEPA")
        whole = self.target(images)
        target = F.layer_norm(wide(whole.tokens), whole.tokens.shape[-1:])
        wanted, present = places(blocks)
        keep = visible(~context)
        made = self.predictor(self.online(images, keep=keep).tokens, keep, wanted, present)
        hoped = take(target, wanted.flatten(1)).unflatten(1, wanted.shape[1:])
        return Step(
            {"regression": blockwise_smooth_l1(made, hoped, present)},
            self.embedded(whole.pooled.unflatten(0, views.shape[:2])),
        )

    def after_step(self, clock: Clock) -> None:
        """The target encoder follows."""
        self.target.follow(self.online, clock)
