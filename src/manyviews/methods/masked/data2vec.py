"""data2vec for images. Baevski et al. 2022, arXiv:2202.03555; facebookresearch/data2vec_vision."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from manyviews.core import Batch, Clock, Given, Hide, Method, Step, wide
from manyviews.core.ranges import SHARE, Count, Positive
from manyviews.core.schedules import Ramp
from manyviews.losses.reconstruction import masked_smooth_l1, prediction_std
from manyviews.parts.dropout import without_dropout
from manyviews.parts.masking import check_views, mask_token, square_patch
from manyviews.parts.targets import EMA


@dataclass(frozen=True, kw_only=True)
class Data2VecConfig:
    """Settings of data2vec; what is hidden belongs to the view plan.

    Attributes:
        average: of how many last blocks of the teacher the target is the mean.
        beta: differences below it count squared, those above by their size.
        momentum: share of the old teacher that an update keeps.
    """

    average: Count = 6
    beta: Positive = 2.0
    momentum: Annotated[Ramp, SHARE] = Ramp(0.9998, 0.9998)


class Data2Vec(Method):
    """Predict, at hidden places, what a slow copy makes of the whole image in its last blocks."""

    needs: Mapping[str, int] = {"global": 1, "global.mask": 1}
    tokens = True

    def __init__(self, given: Given, config: Data2VecConfig) -> None:
        super().__init__(given)
        encoder = given.encoder
        square_patch(encoder, "data2vec")
        self.online = encoder
        self.mask_token = mask_token(encoder.dim)
        self.head = nn.Linear(encoder.dim, encoder.dim)
        self.target = EMA(encoder, config.momentum)
        without_dropout(self.target)
        self.config = config

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The error of what is predicted at hidden places."""
        views = batch.views["global"]
        images, hidden = views.flatten(0, 1), batch.cues["global.mask"].flatten(0, 1)
        check_views(self.online, images, hidden, "data2vec")
        # The teacher goes first: its memory is free again before the student fills its own.
        target = averaged(self.target(images, blocks=self.config.average).hidden)
        features = self.online(images, hide=Hide(hidden, self.mask_token))
        prediction = self.head(features.tokens)
        loss = masked_smooth_l1(prediction, target, hidden, beta=self.config.beta)
        return Step(
            {"regression": loss},
            self.embedded(features.pooled.unflatten(0, views.shape[:2])),
            watch={"prediction_std": prediction_std(prediction, hidden)},
        )

    def after_step(self, clock: Clock) -> None:
        """The teacher follows the encoder."""
        self.target.follow(self.online, clock)


def averaged(hidden: tuple[Tensor, ...]) -> Tensor:
    """Blocks' tokens [B, N, D] -> their mean [B, N, D]; each before and the mean after normed.

    The norms are over D, without factor and offset, in full precision.
    """
    width = hidden[0].shape[-1:]
    normed = [F.layer_norm(wide(tokens), width) for tokens in hidden]
    return F.layer_norm(sum(normed[1:], normed[0]) / len(normed), width)
