"""EAT. Chen et al. 2024, arXiv:2401.03497; cwx-worst-one/EAT."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core import Batch, Clock, Given, Method, Step, UsageError, wide
from manyviews.core.ranges import SHARE, Count, NotNegative, Share
from manyviews.core.schedules import Ramp
from manyviews.losses.reconstruction import masked_mse, pixel_mse, prediction_std
from manyviews.parts.dropout import without_dropout
from manyviews.parts.grid_decoder import GridDecoder
from manyviews.parts.masking import kept_blocks, patch_of
from manyviews.parts.targets import EMA


@dataclass(frozen=True, kw_only=True)
class EATConfig:
    """Defaults: cwx-worst-one/EAT config/pretraining_AS2M.yaml.

    Attributes:
        average: of how many last blocks of the teacher the target is the mean.
        masks: of each view, which the teacher sees once.
        share: of the patches that show.
        extra: more squares are drawn by so much, since they overlap.
        side: of the squares that show, in patches.
        utterance: weight of the class token's error.
        layers: of the decoder.
        kernel: side of its convolutions, in patches.
        groups: of its channels.
        momentum: share of the old teacher that an update keeps.
    """

    average: Count = 12
    masks: Count = 16
    share: Share = 0.2
    extra: Share = 0.07
    side: Count = 5
    utterance: NotNegative = 1.0
    layers: Count = 6
    kernel: Count = 3
    groups: Count = 16
    momentum: Annotated[Ramp, SHARE] = Ramp(0.9998, 0.99999, 0.25)


class EAT(Method):
    """From a fifth of a spectrogram predict a slow copy's tokens of the rest, and their mean."""

    needs: Mapping[str, int] = {"global": 1}
    tokens = True

    def __init__(self, given: Given, config: EATConfig) -> None:
        super().__init__(given)
        encoder = given.encoder
        patch_of(encoder, "EAT")
        self.online = encoder
        self.decoder = GridDecoder(
            encoder.dim,
            grid=encoder.grid,
            depth=config.layers,
            kernel=config.kernel,
            groups=config.groups,
        )
        self.target = EMA(encoder, config.momentum)
        without_dropout(self.target)
        self.config = config

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The error at hidden places, and that of the class token; over the root of their width."""
        views, config = batch.views["global"], self.config
        images = views.flatten(0, 1)
        whole = self.target(images, blocks=config.average)
        target = contextual(whole.hidden).repeat_interleave(config.masks, dim=0)
        keep = self._keep(batch.index, views.shape[1], clock)
        features = self.online(images.repeat_interleave(config.masks, dim=0), keep=keep)
        if features.class_token is None:
            raise UsageError(
                "EAT predicts a sound's mean from the class token, and "
                f"{type(self.online).__name__} has none. Take an audio_vit or a ViT."
            )
        prediction = self.decoder(features.tokens, keep)
        hidden = torch.ones_like(prediction[..., 0], dtype=torch.bool).scatter(1, keep, value=False)
        root = prediction.shape[2] ** 0.5
        utterance = pixel_mse(features.class_token, target.mean(dim=1))
        return Step(
            {
                "frame": root * masked_mse(prediction, target, hidden),
                "utterance": config.utterance * root * utterance,
            },
            # The slow copy's of the whole, not the student's of a fifth of it.
            self.embedded(whole.pooled.unflatten(0, views.shape[:2])),
            watch={"prediction_std": prediction_std(prediction, hidden)},
        )

    def _keep(self, index: Tensor, views: int, clock: Clock) -> Tensor:
        """[B * V * masks, K] places that show, of each sample's views and their masks in turn."""
        config, count = self.config, views * self.config.masks
        rows, columns = self.online.grid
        every = index[:, None] * count + torch.arange(count, device=index.device)
        return kept_blocks(
            every.flatten(),
            grid=(rows, columns),
            share=config.share,
            extra=config.extra,
            side=config.side,
            step=clock.step,
        )

    def after_step(self, clock: Clock) -> None:
        """The teacher follows the encoder."""
        self.target.follow(self.online, clock)


def contextual(hidden: tuple[Tensor, ...]) -> Tensor:
    """Blocks' tokens [B, N, D] -> their mean [B, N, D], each less its channels' means over places.

    Over their deviations too; the mean is then normed over D, without factor and offset, in full
    precision.
    """
    normed = [F.instance_norm(wide(tokens).transpose(1, 2)) for tokens in hidden]
    mean = (sum(normed[1:], normed[0]) / len(normed)).transpose(1, 2)
    return F.layer_norm(mean, mean.shape[-1:])
