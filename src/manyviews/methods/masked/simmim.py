"""SimMIM. Xie et al. 2022, arXiv:2111.09886; microsoft/SimMIM."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from manyviews.core import Batch, Clock, Features, Given, Hide, Method, Step, wide
from manyviews.losses.reconstruction import error_of_a_guess, masked_l1, masked_mse, prediction_std
from manyviews.parts.masking import check_views, mask_token, patchify, square_patch, unpatchify


@dataclass(frozen=True, kw_only=True)
class SimMIMConfig:
    """Settings of SimMIM; what is hidden belongs to the view plan.

    Attributes:
        loss: on the hidden pixels, absolute or squared error.
    """

    loss: Literal["l1", "l2"] = "l1"


class SimMIM(Method):
    """The encoder sees mask tokens at hidden places; one linear layer predicts their pixels."""

    needs: Mapping[str, int] = {"global": 1, "global.mask": 1}
    tokens = True

    def __init__(self, given: Given, config: SimMIMConfig) -> None:
        super().__init__(given)
        encoder = given.encoder
        self.patch = square_patch(encoder, "SimMIM")
        self.online = encoder
        self.mask_token = mask_token(encoder.dim)
        self.decoder = nn.Linear(encoder.dim, self.patch**2 * encoder.input.shape[0])
        self.config = config

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The error of the hidden pixels."""
        views = batch.views["global"]
        images, hidden = views.flatten(0, 1), batch.cues["global.mask"].flatten(0, 1)
        features, prediction = self._predict(images, hidden)
        error = masked_l1 if self.config.loss == "l1" else masked_mse
        target = patchify(images, self.patch)
        loss = error(prediction, target, hidden)
        return Step(
            {"reconstruction": loss},
            self.embedded(features.pooled.unflatten(0, views.shape[:2])),
            watch={
                "prediction_std": prediction_std(prediction, hidden),
                "over_guess": loss.detach() / error_of_a_guess(error, target, hidden),
            },
        )

    def _predict(self, images: Tensor, hidden: Tensor) -> tuple[Features, Tensor]:
        """[B, C, H, W] and [B, N] bool -> features, [B, N, P] values."""
        check_views(self.online, images, hidden, "SimMIM")
        features = self.online(images, hide=Hide(hidden, self.mask_token))
        return features, self.decoder(features.tokens)

    @torch.no_grad()
    def reconstruct(self, batch: Batch) -> Tensor:
        """Each image's first view with its hidden patches as predicted, [B, C, H, W]."""
        images, hidden = batch.views["global"][:, 0], batch.cues["global.mask"][:, 0]
        _, prediction = self._predict(images, hidden)
        pasted = torch.where(
            hidden[..., None], wide(prediction), wide(patchify(images, self.patch))
        )
        rows, columns = self.online.grid
        return unpatchify(pasted, self.patch, grid=(rows, columns))
