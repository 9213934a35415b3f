"""MAE. He et al. 2022, arXiv:2111.06377; facebookresearch/mae."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from manyviews.core import Batch, Clock, Features, Given, Hide, Method, Step, wide
from manyviews.core.ranges import Count
from manyviews.losses.reconstruction import (
    masked_mse,
    normalise_patches,
    patch_statistics,
    prediction_std,
)
from manyviews.parts.decoder import Decoder
from manyviews.parts.masking import (
    check_views,
    mask_token,
    patchify,
    square_patch,
    unpatchify,
    visible,
)


@dataclass(frozen=True, kw_only=True)
class MAEConfig:
    """Settings of MAE; the share of hidden patches belongs to the view plan.

    Attributes:
        width: of the decoder.
        depth: of the decoder, in blocks.
        heads: of the decoder.
        normalise_patches: predict each patch less its mean over its deviation.
        token_inside: the encoder sees all places, with one learned token at the hidden ones, as an
            ablation: slower, and worse features (section 4.1).
    """

    width: Count = 512
    depth: Count = 8
    heads: Count = 16
    normalise_patches: bool = True
    token_inside: bool = False


class MAE(Method):
    """Encode the few visible patches; a light decoder predicts the pixels of the hidden ones."""

    needs: Mapping[str, int] = {"global": 1, "global.mask": 1}
    tokens = True

    def __init__(self, given: Given, config: MAEConfig) -> None:
        super().__init__(given)
        encoder = given.encoder
        self.patch = square_patch(encoder, "MAE")
        self.online = encoder
        self.grid = (encoder.grid[0], encoder.grid[1])
        self.decoder = Decoder(
            encoder.dim,
            grid=self.grid,
            width=config.width,
            depth=config.depth,
            heads=config.heads,
            out=self.patch**2 * encoder.input.shape[0],
        )
        if config.token_inside:  # the decoder then has no gap to fill
            self.mask_token = mask_token(encoder.dim)
            self.decoder.mask_token.requires_grad = False
        self.config = config

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The reconstruction error of the hidden patches."""
        views = batch.views["global"]
        images, hidden = views.flatten(0, 1), batch.cues["global.mask"].flatten(0, 1)
        features, prediction = self._predict(images, hidden)
        target = patchify(images, self.patch)
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
        check_views(self.online, images, hidden, "MAE")
        keep, wanted = visible(hidden), visible(~hidden)
        if self.config.token_inside:
            features = self.online(images, hide=Hide(hidden, self.mask_token))
            keep = torch.arange(hidden.shape[1], device=hidden.device).expand(hidden.shape)
        else:
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
        images, hidden = batch.views["global"][:, 0], batch.cues["global.mask"][:, 0]
        _, prediction = self._predict(images, hidden)
        patches = wide(patchify(images, self.patch))
        prediction = wide(prediction)
        if self.config.normalise_patches:
            mean, deviation = patch_statistics(patches)
            prediction = prediction * deviation + mean
        pasted = torch.where(hidden[..., None], prediction, patches)
        return unpatchify(pasted, self.patch, grid=self.grid)
