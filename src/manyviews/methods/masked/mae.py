"""MAE. He et al. 2022, arXiv:2111.06377; facebookresearch/mae."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from manyviews.core import Batch, Clock, Features, Given, Method, Step, UsageError, wide
from manyviews.core.ranges import Count
from manyviews.losses.reconstruction import (
    masked_mse,
    normalise_patches,
    patch_statistics,
    prediction_std,
)
from manyviews.parts.decoder import Decoder
from manyviews.parts.masking import patchify, unpatchify, visible


@dataclass(frozen=True, kw_only=True)
class MAEConfig:
    """Settings of MAE; the share of hidden patches belongs to the view plan.

    Attributes:
        patch: side of the encoder's patches, in pixels.
        channels: of the images.
        width: of the decoder.
        depth: of the decoder, in blocks.
        heads: of the decoder.
        normalise_patches: predict each patch less its mean over its deviation.
    """

    patch: Count = 16
    channels: Count = 3
    width: Count = 512
    depth: Count = 8
    heads: Count = 16
    normalise_patches: bool = True


class MAE(Method):
    """Encode the few visible patches; a light decoder predicts the pixels of the hidden ones."""

    needs: Mapping[str, int] = {"global": 1, "mask": 1}

    def __init__(self, given: Given, config: MAEConfig) -> None:
        super().__init__(given)
        encoder = given.encoder
        side = math.isqrt(encoder.num_tokens)
        if side**2 != encoder.num_tokens:
            raise UsageError(
                f"MAE needs a square grid; the encoder has {encoder.num_tokens} tokens."
            )
        self.online = encoder
        self.grid = (side, side)
        self.decoder = Decoder(
            encoder.dim,
            grid=self.grid,
            width=config.width,
            depth=config.depth,
            heads=config.heads,
            out=config.patch**2 * config.channels,
        )
        self.config = config

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The reconstruction error of the hidden patches."""
        views = batch.views["global"]
        images, hidden = views.flatten(0, 1), batch.cues["mask"].flatten(0, 1)
        features, prediction = self._predict(images, hidden)
        target = patchify(images, self.config.patch)
        if self.config.normalise_patches:
            target = normalise_patches(target)
        return Step(
            {"reconstruction": masked_mse(prediction, target, hidden)},
            self.embedded(features.pooled.unflatten(0, views.shape[:2])),
            watch={"prediction_std": prediction_std(prediction, hidden)},
        )

    def _predict(self, images: Tensor, hidden: Tensor) -> tuple[Features, Tensor]:
        """[B, C, H, W] and [B, N] bool -> features of the visible patches, [B, N, P] values.

        Of the visible patches, which nobody asks for, the values are 0.
        """
        size = (self.config.channels, *(side * self.config.patch for side in self.grid))
        if images.shape[1:] != size or hidden.shape[1] != self.online.num_tokens:
            raise UsageError(
                f"MAE expects images of {size} and masks of {self.online.num_tokens} patches; got "
                f"{tuple(images.shape[1:])} and {hidden.shape[1]}. Set --views.global.size, "
                "--views.mask.patch and --method.patch to match the encoder."
            )
        keep, wanted = visible(hidden), visible(~hidden)
        features = self.online(images, keep=keep)
        class_token = features.class_token
        made = self.decoder(features.tokens, keep, class_token=class_token, wanted=wanted)
        everywhere = made.new_zeros(*hidden.shape, made.shape[2])
        return features, everywhere.scatter(1, wanted[..., None].expand_as(made), made)

    @torch.no_grad()
    def reconstruct(self, batch: Batch) -> Tensor:
        """Each image's first view with its hidden patches as predicted, [B, C, H, W].

        With `normalise_patches` a prediction has no mean and scale of its own; it gets those of
        the patch it stands for, as in the authors' pictures.
        """
        images, hidden = batch.views["global"][:, 0], batch.cues["mask"][:, 0]
        _, prediction = self._predict(images, hidden)
        patches = wide(patchify(images, self.config.patch))
        prediction = wide(prediction)
        if self.config.normalise_patches:
            mean, deviation = patch_statistics(patches)
            prediction = prediction * deviation + mean
        pasted = torch.where(hidden[..., None], prediction, patches)
        return unpatchify(pasted, self.config.patch, grid=self.grid)
