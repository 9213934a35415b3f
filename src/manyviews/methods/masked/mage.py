"""MAGE. Li et al. 2023, arXiv:2211.09117; LTH14/mage."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from manyviews.core import Batch, Clock, Given, Hide, Method, Step
from manyviews.core.ranges import Count, NotNegative, Positive, Share
from manyviews.losses.codes import masked_code_cross_entropy
from manyviews.losses.contrastive import nt_xent, unit
from manyviews.parts.code_decoder import CodeDecoder
from manyviews.parts.heads import mlp
from manyviews.parts.masking import check_views, mask_token, square_patch, visible
from manyviews.parts.noise import truncated_normal, uniform
from manyviews.parts.teaching import Shown, giver_of_codes, reads_codes, token_width


@dataclass(frozen=True, kw_only=True)
class MAGEConfig:
    """Settings of MAGE; the share that the encoder is not even fed belongs to the view plan.

    Attributes:
        width: of the decoder; the authors' is the encoder's.
        depth: of the decoder, in blocks.
        heads: of the decoder.
        mean: of the share of hidden places, a normal number that is drawn anew until it lies
            between the share left out and 1.
        std: of it.
        smoothing: of the codes.
        gap: what stands at hidden places in the decoder, the encoded class token or a learned one.
        contrast: weight of a contrastive loss on the encoder's mean tokens (MAGE-C), which takes
            two views; 0 for none.
        temperature: of it.
        hidden: width within its projector.
        out: width of its projections.
    """

    width: Count = 768
    depth: Count = 8
    heads: Count = 16
    mean: Share = 0.55
    std: Positive = 0.25
    smoothing: Share = 0.1
    gap: Literal["class", "learned"] = "class"
    contrast: NotNegative = 0.0
    temperature: Positive = 0.2
    hidden: Count = 2048
    out: Count = 256


class MAGE(Method):
    """From few codes of an image name all others, however many are hidden."""

    needs: Mapping[str, int] = {"global": 1, "global.mask": 1}
    tokens = True
    asks = ("tokenizer",)
    salt: Tensor

    def __init__(self, given: Given, config: MAGEConfig) -> None:
        super().__init__(given)
        self.online = encoder = given.encoder
        square_patch(encoder, "MAGE")
        tokenizer = giver_of_codes(given, encoder, name="tokenizer")
        if reads_codes(reader := given.encoder):
            reader.adopt(tokenizer)
        self.shown = Shown(tokenizer, encoder.input, name="tokenizer")
        self.mask_token = mask_token(encoder.dim)
        self.decoder = CodeDecoder(
            encoder.dim,
            places=encoder.num_tokens,
            codes=token_width(tokenizer),
            width=config.width,
            depth=config.depth,
            heads=config.heads,
            learned=config.gap == "learned",
            tied=reads_codes(encoder),
        )
        self.projector = None
        if config.contrast:
            self.needs = {"global": 2, "global.mask": 2}
            self.projector = mlp((encoder.dim, config.hidden, config.out))
        self.register_buffer("salt", torch.randint(2**62, ()))
        self.config = config

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The cross-entropy of the codes of hidden places, and what is contrasted."""
        views, config, online = batch.views["global"], self.config, self.online
        images, dropped = views.flatten(0, 1), batch.cues["global.mask"].flatten(0, 1)
        check_views(online, images, dropped, "MAGE")
        codes = self.shown(images, tokens=True).tokens.argmax(dim=-1)
        hidden, keep = self._hidden(batch, clock, dropped), visible(dropped)
        words = reader.words.weight if reads_codes(reader := self.online) else None
        fed = images if words is None else codes
        features = online(fed, keep=keep, hide=Hide(hidden, self.mask_token))
        logits = self.decoder(
            features.tokens,
            keep,
            hidden,
            class_token=features.class_token,
            words=words,
        )
        loss = masked_code_cross_entropy(logits, codes, hidden, smoothing=config.smoothing)
        losses, projection = {"codes": loss}, None
        if self.projector is not None:
            made = self.projector(features.tokens.mean(dim=1))
            projection = unit(made.unflatten(0, views.shape[:2]))
            apart = nt_xent(projection[:, :2], temperature=config.temperature)
            losses["contrast"] = config.contrast * apart
        embedding = self.embedded(features.pooled.unflatten(0, views.shape[:2]))
        return Step(losses, embedding, projection)

    def _hidden(self, batch: Batch, clock: Clock, dropped: Tensor) -> Tensor:
        """What is left out [B V, N] bool -> that and what else is hidden, a share drawn anew."""
        views, places = batch.views["global"].shape[1], dropped.shape[1]
        drawn = uniform(batch.index, clock.step, (views, places + 1), salt=self.salt).flatten(0, 1)
        least = dropped.float().mean(dim=1)
        config = self.config
        share = truncated_normal(
            drawn[:, 0], mean=config.mean, std=config.std, least=least, most=1.0
        )
        order = drawn[:, 1:].masked_fill(dropped, -1.0).argsort(dim=1).argsort(dim=1)
        return order < (share * places).ceil()[:, None]
