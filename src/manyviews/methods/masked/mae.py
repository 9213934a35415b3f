"""MAE, on images, clips and sounds. He et al. 2022, arXiv:2111.06377; facebookresearch/mae."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from manyviews.core import (
    Batch,
    Clock,
    EmbedAll,
    Features,
    Given,
    Hide,
    Method,
    Step,
    Unsupported,
    wide,
)
from manyviews.core.ranges import Count, Natural
from manyviews.losses.codes import code_cross_entropy
from manyviews.losses.reconstruction import (
    error_of_a_guess,
    masked_mse,
    normalise_patches,
    patch_statistics,
    prediction_std,
)
from manyviews.parts.components import Components, one_patch_each
from manyviews.parts.decoder import Attention, Decoder
from manyviews.parts.masking import (
    check_views,
    mask_token,
    patch_of,
    patchify,
    unpatchify,
    visible,
)
from manyviews.parts.teaching import Shown, giver_of_codes, token_width


@dataclass(frozen=True, kw_only=True)
class MAEConfig:
    """Settings of MAE; the share of hidden patches belongs to the view plan.

    Attributes:
        width: of the decoder.
        depth: of the decoder, in blocks.
        heads: of the decoder.
        attention: of the decoder: "local" within windows of 4 x 4 tokens (Audio-MAE,
            arXiv:2207.06405), and then without the class token.
        normalise_patches: predict each patch less its mean over its deviation.
        by_channel: with them, each channel of a patch by itself (VideoMAE, arXiv:2203.12602).
        token_inside: the encoder sees all places, with one learned token at the hidden ones, as an
            ablation: slower, and worse features (section 4.1).
        target: the pixels of a patch; or their coordinates along principal components of the data's
            patches, which are found before the first epoch; or the code that a frozen tokenizer
            gives the place in the whole image, by its cross-entropy.
        first: of components, how many of greatest variance are left out.
        count: how many of those that follow are predicted; 0 for all.
    """

    width: Count = 512
    depth: Count = 8
    heads: Count = 16
    attention: Attention = "global"
    normalise_patches: bool = True
    by_channel: bool = False
    token_inside: bool = False
    target: Literal["pixels", "components", "codes"] = "pixels"
    first: Natural = 0
    count: Natural = 0


class MAE(Method):
    """Encode the few visible patches; a light decoder predicts the values of the hidden ones."""

    needs: Mapping[str, int] = {"global": 1, "global.mask": 1}
    tokens = True

    def __init__(self, given: Given, config: MAEConfig) -> None:
        super().__init__(given)
        encoder = given.encoder
        self.patch = patch_of(encoder, "MAE")
        self.online = encoder
        size = math.prod(self.patch) * encoder.input.shape[0]
        self.components = self.shown = None
        if config.target == "components":
            self.components = Components(size, first=config.first, count=config.count)
            size = self.components.width
        elif config.target == "codes":
            tokenizer = giver_of_codes(given, encoder, name="tokenizer")
            self.shown = Shown(tokenizer, encoder.input, name="tokenizer")
            size = token_width(tokenizer)
        self.decoder = Decoder(
            encoder.dim,
            grid=encoder.grid,
            width=config.width,
            depth=config.depth,
            heads=config.heads,
            attention=config.attention,
            out=size,
        )
        if config.token_inside:  # the decoder then has no gap to fill
            self.mask_token = mask_token(encoder.dim)
            self.decoder.mask_token.requires_grad = False
        self.channels = encoder.input.shape[0] if config.by_channel else 1
        self.config = config

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The reconstruction error of the hidden patches."""
        views = batch.views["global"]
        images, hidden = views.flatten(0, 1), batch.cues["global.mask"].flatten(0, 1)
        if self.shown is not None:
            codes = self.shown(images, tokens=True).tokens.argmax(dim=-1)
            features, made, wanted = self._made(images, hidden)
            losses = {"codes": code_cross_entropy(made, codes.gather(1, wanted))}
            return Step(losses, self.embedded(features.pooled.unflatten(0, views.shape[:2])))
        features, prediction = self._predict(images, hidden)
        target = self._patches(images)
        if self.components is not None:
            target = self.components(target)
        loss = masked_mse(prediction, target, hidden)
        return Step(
            {"reconstruction": loss},
            self.embedded(features.pooled.unflatten(0, views.shape[:2])),
            watch={
                "prediction_std": prediction_std(prediction, hidden),
                "over_guess": loss.detach() / error_of_a_guess(masked_mse, target, hidden),
            },
        )

    def before_epoch(self, clock: Clock, embed_all: EmbedAll) -> None:
        """Before the first, find the patches' principal components, by one patch of each image."""
        if self.components is None or self.components.fitted:
            return

        def chosen(plain: Mapping[str, Tensor]) -> Tensor:
            [images] = plain.values()
            return one_patch_each(images, self._patches(images))

        self.components.fit(embed_all(chosen))

    def _patches(self, images: Tensor) -> Tensor:
        """[B, C, *S] -> [B, N, P], normalised if so set."""
        patches = patchify(images, self.patch)
        if not self.config.normalise_patches:
            return patches
        return normalise_patches(patches, channels=self.channels)

    def _predict(self, images: Tensor, hidden: Tensor) -> tuple[Features, Tensor]:
        """[B, C, *S] and [B, N] bool -> features of the visible patches, [B, N, P] values.

        Of the visible patches, which nobody asks for, the values are 0.
        """
        features, made, wanted = self._made(images, hidden)
        everywhere = made.new_zeros(*hidden.shape, made.shape[2])
        return features, everywhere.scatter(1, wanted[..., None].expand_as(made), made)

    def _made(self, images: Tensor, hidden: Tensor) -> tuple[Features, Tensor, Tensor]:
        """The same, but [B, M, P] values of the hidden patches alone, and which they are [B, M]."""
        check_views(self.online, images, hidden, "MAE")
        keep, wanted = visible(hidden), visible(~hidden)
        if self.config.token_inside:
            features = self.online(images, hide=Hide(hidden, self.mask_token))
            keep = torch.arange(hidden.shape[1], device=hidden.device).expand(hidden.shape)
        else:
            features = self.online(images, keep=keep)
        class_token = features.class_token
        made = self.decoder(features.tokens, keep, class_token=class_token, wanted=wanted)
        return features, made, wanted

    @torch.no_grad()
    def reconstruct(self, batch: Batch) -> Tensor:
        """Each sample's first view with its hidden patches as predicted, [B, C, *S].

        With `normalise_patches` a prediction has no mean and scale of its own; it gets those of
        the patch it stands for, as in the authors' pictures. Components left out are the mean's.

        Raises:
            Unsupported: codes are predicted, which only the tokenizer's decoder could draw.
        """
        if self.shown is not None:
            raise Unsupported("MAE predicts codes here, of which no pixels are made.")
        images, hidden = batch.views["global"][:, 0], batch.cues["global.mask"][:, 0]
        _, prediction = self._predict(images, hidden)
        patches = wide(patchify(images, self.patch))
        prediction = wide(prediction)
        if self.components is not None:
            prediction = self.components.back(prediction)
        if self.config.normalise_patches:
            mean, deviation = patch_statistics(patches, channels=self.channels)
            prediction = prediction * deviation + mean
        pasted = torch.where(hidden[..., None], prediction, patches)
        return unpatchify(pasted, self.patch, grid=self.online.grid)
