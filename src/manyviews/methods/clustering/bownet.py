"""BoWNet. Gidaris et al. 2020, arXiv:2002.12247."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from manyviews.core import Batch, Clock, EmbedAll, Encoder, Given, Method, Step, flat, wide
from manyviews.core.ranges import Count, Positive, Several
from manyviews.losses.clustering import shared_cross_entropy
from manyviews.losses.contrastive import unit
from manyviews.parts.cluster import spherical_kmeans
from manyviews.parts.teaching import Shown, token_width


@dataclass(frozen=True, kw_only=True)
class BoWNetConfig:
    """Settings of BoWNet; the authors published no code.

    Attributes:
        words: K, size of the vocabulary.
        rounds: of the k-means that finds it.
        scale: gamma at the start, length of every word's weights in the prediction.
    """

    words: Several = 2048
    rounds: Count = 20
    scale: Positive = 5.0


class BoWNet(Method):
    """From a changed view predict how often a frozen teacher sees each visual word in the image."""

    needs: Mapping[str, int] = {"global": 1, "clean": 1}
    most: Mapping[str, int] = {"clean": 1}
    asks = ("teacher",)
    vocabulary: Tensor
    known: Tensor

    def __init__(self, given: Given, config: BoWNetConfig) -> None:
        super().__init__(given)
        self.config, self.backbone = config, given.encoder
        teacher = cast(Encoder, given.teachers["teacher"])
        self.shown = Shown(teacher, self.backbone.input)
        self.words = nn.Parameter(torch.randn(config.words, self.backbone.dim))
        self.scale = nn.Parameter(torch.tensor(config.scale))
        width = token_width(teacher, instead="Give another --teachers.teacher.")
        self.register_buffer("vocabulary", torch.zeros(config.words, width))
        self.register_buffer("known", torch.zeros((), dtype=torch.bool))

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The cross-entropy of every view's prediction with the clean view's bag of words."""
        h = flat(lambda x: self.backbone(x, tokens=False).pooled, batch.views["global"])
        with torch.autocast(h.device.type, enabled=False):
            logits = self.scale * (wide(h) @ unit(self.words).T)
        target = self.bag(batch.views["clean"][:, 0])
        return Step(
            {"words": shared_cross_entropy(logits, target)},
            embedding=self.embedded(h[:, :2]),
            clusters=logits[:, :2],
        )

    @torch.no_grad()
    def bag(self, images: Tensor) -> Tensor:
        """[B, K]: share of each word among the teacher's tokens of images [B, C, H, W]."""
        nearest = (self._tokens(images) @ self.vocabulary.T).argmax(dim=-1)
        counts = self.vocabulary.new_zeros(len(images), len(self.vocabulary))
        return (
            counts.scatter_add_(1, nearest, torch.ones_like(nearest, dtype=counts.dtype))
            / (nearest.shape[1])
        )

    @torch.no_grad()
    def _tokens(self, images: Tensor) -> Tensor:
        return unit(wide(self.shown(images, tokens=True).tokens)).to(self.vocabulary.dtype)

    def before_epoch(self, clock: Clock, embed_all: EmbedAll) -> None:
        """Find the vocabulary, once, among one token of every image: the teacher never changes."""
        if bool(self.known):
            return

        def one(views: Mapping[str, Tensor]) -> Tensor:
            images = views[next(iter(self.encoders))]
            tokens = self._tokens(images)
            # Which one is a function of the image alone: any order and number of ranks agree.
            place = (images * 1000).round().long().flatten(1).sum(dim=1) % tokens.shape[1]
            return tokens[torch.arange(len(tokens), device=tokens.device), place]

        rows = embed_all(one).to(self.vocabulary.dtype)
        found = spherical_kmeans(
            rows, count=len(self.vocabulary), rounds=self.config.rounds, setting="words"
        )
        self.vocabulary.copy_(found.centroids)
        self.known.fill_(value=True)
