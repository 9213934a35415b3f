"""A discrete variational auto-encoder. Ramesh et al. 2021 (DALL-E), arXiv:2102.12092."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from manyviews.core import Batch, Clock, Given, Method, Step, UsageError, comm, wide
from manyviews.core.ranges import POSITIVE, Count, NotNegative
from manyviews.core.schedules import Ramp
from manyviews.losses.codes import code_usage, kl_to_uniform
from manyviews.losses.reconstruction import pixel_mse, pixel_smooth_l1
from manyviews.parts.noise import gumbel
from manyviews.parts.pixels import PixelDecoder
from manyviews.parts.teaching import token_width


@dataclass(frozen=True, kw_only=True)
class DiscreteVAEConfig:
    """Settings of the tokenizer's training; how many codes there are is the encoder's.

    Attributes:
        code: width of a code's vector.
        width: channels of the decoder.
        temperature: of the relaxed choice of codes.
        hard: decode the chosen code alone, with the relaxed choice's gradient.
        kl: weight of the distance from even choices; per image, as the error is per value.
        loss: squared or Huber error of pixels.
    """

    code: Count = 512
    width: Count = 64
    temperature: Annotated[Ramp, POSITIVE] = Ramp(1.0, 1 / 16, fraction=0.5)
    hard: bool = False
    kl: NotNegative = 0.0
    loss: Literal["l2", "smooth_l1"] = "l2"


class DiscreteVAE(Method):
    """Bring an image back from one code for each place, chosen softly and ever less so."""

    needs: Mapping[str, int] = {"global": 1}
    salt: Tensor

    def __init__(self, given: Given, config: DiscreteVAEConfig) -> None:
        super().__init__(given)
        self.online = encoder = given.encoder
        channels, height, width = encoder.input.shape
        steps = {height // encoder.grid[0], width // encoder.grid[-1]}
        if len(encoder.grid) != 2 or len(steps) != 1:
            raise UsageError(
                f"A tokenizer needs a square place for each token; {type(encoder).__name__} has "
                f"{encoder.grid} of {height} x {width} pixels. Use --encoder.name dvae."
            )
        self.codebook = nn.Linear(token_width(encoder), config.code, bias=False)
        nn.init.normal_(self.codebook.weight)
        self.decoder = PixelDecoder(
            config.code, factor=steps.pop(), width=config.width, channels=channels
        )
        self.register_buffer("salt", torch.randint(2**62, ()))
        self.config = config

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The error of all pixels."""
        views, config = batch.views["global"], self.config
        images = views.flatten(0, 1)
        features = self.online(images)
        logits = wide(features.tokens)
        made = self.decoder(self.codebook(self._chosen(logits, batch, clock)), self.online.grid)
        used = logits.detach().softmax(dim=-1).mean(dim=(0, 1))
        error = pixel_mse if config.loss == "l2" else pixel_smooth_l1
        return Step(
            {
                "reconstruction": error(made, images),
                "kl": config.kl * kl_to_uniform(logits),
            },
            self.embedded(features.pooled.unflatten(0, views.shape[:2])),
            watch={"usage_entropy": code_usage(comm.mean(used))},
        )

    def _chosen(self, logits: Tensor, batch: Batch, clock: Clock) -> Tensor:
        """Codes by softmax((logits + Gumbel noise) / temperature), [B V, N, K]."""
        shape = (batch.views["global"].shape[1], *logits.shape[1:])
        noise = gumbel(batch.index, clock.step, shape, salt=self.salt).flatten(0, 1)
        soft = ((logits + noise) / self.config.temperature.at(clock)).softmax(dim=-1)
        if not self.config.hard:
            return soft
        one = F.one_hot(soft.argmax(dim=-1), soft.shape[-1]).to(soft.dtype)
        return one + soft - soft.detach()
