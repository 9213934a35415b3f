"""iGPT. Chen et al. 2020, "Generative Pretraining from Pixels", ICML; openai/image-gpt."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from manyviews.core import Batch, Clock, EmbedAll, Given, Method, Step, UsageError
from manyviews.core.ranges import Count, NotNegative
from manyviews.losses.codes import code_cross_entropy
from manyviews.parts.palette import clustered, reads_colours

_GOLDEN = 0.6180339887498949
"""Its multiples are spread evenly over an image, however many are taken."""


@dataclass(frozen=True, kw_only=True)
class IGPTConfig:
    """Settings of iGPT; the palette's size belongs to the encoder.

    Attributes:
        pixels: of each image, that the palette is found among.
        init: deviation of the first weights of the scores; the authors begin with 0.
    """

    pixels: Count = 8
    init: NotNegative = 0.0


class IGPT(Method):
    """Name each pixel's colour from those before it, row by row."""

    needs: Mapping[str, int] = {"global": 1}

    def __init__(self, given: Given, config: IGPTConfig) -> None:
        super().__init__(given)
        encoder = given.encoder
        if not reads_colours(encoder):
            raise UsageError(
                "iGPT needs an encoder that reads an image's colours one after another and sees "
                f"none to come; {type(encoder).__name__} sees all. Use --encoder.name raster."
            )
        self.online, self.config = encoder, config
        self.scores = nn.Linear(encoder.dim, len(encoder.colours), bias=False)
        nn.init.normal_(self.scores.weight, std=config.init)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The mean over places of the cross-entropy of their colours."""
        views = batch.views["global"]
        codes = self.online.codes(views.flatten(0, 1))
        features = self.online(codes)
        loss = code_cross_entropy(self.scores(features.tokens), codes)
        return Step({"colours": loss}, self.embedded(features.pooled.unflatten(0, views.shape[:2])))

    def before_epoch(self, clock: Clock, embed_all: EmbedAll) -> None:
        """Before the first, find the palette, unless the encoder has one of an earlier training."""
        if self.online.adopted:
            return
        colours = self.online.colours
        rows = embed_all(self._some).unflatten(1, (-1, colours.shape[1])).flatten(0, 1)
        rows = rows[rows.sum(dim=1).isfinite()]
        found = clustered(rows, len(colours), "--encoder.colours", distinct=True)
        self.online.adopt(found.to(colours))

    def _some(self, plain: Mapping[str, Tensor]) -> Tensor:
        """Plain views of a batch -> [B, pixels * C]: the same few places of each image."""
        [images] = plain.values()
        pixels = self.online.input.restore(images).flatten(2).transpose(1, 2)
        steps = torch.arange(1, 1 + self.config.pixels, dtype=torch.float64) * _GOLDEN % 1
        places = (steps * pixels.shape[1]).long().to(pixels.device)
        return pixels[:, places].flatten(1)
