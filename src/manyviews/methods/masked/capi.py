"""CAPI. Darcet et al. 2025, arXiv:2502.08769; facebookresearch/capi."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from manyviews.core import Batch, Clock, Encoder, Given, Group, Method, Step, wide
from manyviews.core.ranges import SHARE, Count, Positive, Several, Share
from manyviews.core.schedules import WarmupCosine
from manyviews.losses.clustering import shared_cross_entropy
from manyviews.parts.assign import entropies, sinkhorn
from manyviews.parts.cross import CrossPredictor
from manyviews.parts.dropout import without_dropout
from manyviews.parts.masking import check_views, square_patch, take, visible
from manyviews.parts.noise import uniform
from manyviews.parts.prototypes import UnitLinear
from manyviews.parts.targets import EMA


@dataclass(frozen=True, kw_only=True)
class CAPIConfig:
    """Settings of CAPI; what is hidden belongs to the view plan.

    Attributes:
        prototypes: K, clusters of patches. With few images a step each place can fill no more
            than an image's share of them, so that K should be a few times the batch at most.
        width: of the predictor; the authors' is the encoder's.
        depth: of the predictor, in blocks.
        heads: of the predictor.
        predicted: share of the hidden places that are predicted, at least one.
        rounds: of Sinkhorn.
        temperature: of the predictions.
        target_temperature: of what the clusters' scores are divided by before Sinkhorn.
        cluster_temperature: of the clusters' own learning.
        cluster_lr: factor on the clusters' learning rate.
        patch_embedding: factor on the learning rate of the encoder's patch embedding.
        momentum: share of the old teacher that an update keeps; the authors' begins at 1, which
            leaves it as it is.
    """

    prototypes: Several = 16384
    width: Count = 1024
    depth: Count = 12
    heads: Count = 16
    predicted: Share = 0.05
    rounds: Count = 3
    temperature: Positive = 0.12
    target_temperature: Positive = 0.06
    cluster_temperature: Positive = 0.12
    cluster_lr: Positive = 0.5
    patch_embedding: Positive = 0.2
    momentum: Annotated[WarmupCosine, SHARE] = WarmupCosine(0.999, 0.9999045, 0.1, 1.0)


class CAPI(Method):
    """From one part of an image name the clusters that a teacher's patches of the rest are in."""

    needs: Mapping[str, int] = {"global": 1, "global.mask": 1}
    tokens = True
    salt: Tensor

    def __init__(self, given: Given, config: CAPIConfig) -> None:
        super().__init__(given)
        self.online = encoder = given.encoder
        square_patch(encoder, "CAPI")
        self.predictor = CrossPredictor(
            encoder.dim,
            grid=encoder.grid,
            width=config.width,
            depth=config.depth,
            heads=config.heads,
        )
        self.head = UnitLinear(config.width, config.prototypes, fixed=False)
        self.clusters = nn.Linear(encoder.dim, config.prototypes)
        nn.init.normal_(self.clusters.weight)
        nn.init.zeros_(self.clusters.bias)
        self.target = EMA(encoder, config.momentum)
        without_dropout(self.target)
        self.register_buffer("salt", torch.randint(2**62, ()))
        self.config = config

    @property
    def encoders(self) -> Mapping[str, Encoder]:
        """The teacher, as the authors evaluate."""
        return dict.fromkeys(super().encoders, self.target.copy)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """Cross-entropy of predicted clusters, and that by which the clusters learn."""
        views, config = batch.views["global"], self.config
        images, hidden = views.flatten(0, 1), batch.cues["global.mask"].flatten(0, 1)
        check_views(self.online, images, hidden, "CAPI")
        whole = self.target(images)
        scores = wide(self.clusters(F.normalize(whole.tokens, dim=-1)))
        target = sinkhorn(
            scores.detach(), temperature=config.target_temperature, rounds=config.rounds
        )
        keep, wanted = visible(hidden), self._wanted(batch, clock, hidden)
        seen = self.online(images, keep=keep)
        made = self.predictor(seen.tokens, keep, wanted, class_token=seen.class_token)
        guess = wide(self.head(F.normalize(made, dim=-1)))
        hoped = take(target, wanted)
        return Step(
            {
                "prediction": _error(guess / config.temperature, hoped),
                "clustering": _error(scores / config.cluster_temperature, target),
            },
            self.embedded(whole.pooled.unflatten(0, views.shape[:2])),
            watch=entropies(hoped),
        )

    def _wanted(self, batch: Batch, clock: Clock, hidden: Tensor) -> Tensor:
        """[B V, N] bool -> [B V, M] int64: a few of the hidden places, drawn anew each step."""
        count = max(1, int(self.config.predicted * int(hidden[0].sum())))
        shape = (batch.views["global"].shape[1], hidden.shape[1])
        drawn = uniform(batch.index, clock.step, shape, salt=self.salt).flatten(0, 1)
        return drawn.masked_fill(~hidden, 2.0).argsort(dim=1)[:, :count]

    def assign(self, images: Tensor) -> Tensor:
        """The share [B, K] of each cluster in images [B, C, H, W], the mean over their places."""
        tokens = F.normalize(self.target(images).tokens, dim=-1)
        scores = wide(self.clusters(tokens)) / self.config.cluster_temperature
        return scores.softmax(dim=-1).mean(dim=1)

    def after_step(self, clock: Clock) -> None:
        """The teacher follows."""
        self.target.follow(self.online, clock)

    def param_groups(self) -> list[Group]:
        """The clusters learn at their own rate without decay; the patch embedding slowly."""
        clusters = list(self.clusters.parameters())
        stem = [p for p in self.online.patch_embedding() if p.requires_grad]
        known = {id(p) for p in (*clusters, *stem)}
        rest = [p for p in self.parameters() if p.requires_grad and id(p) not in known]
        slow = [Group(stem, lr_scale=self.config.patch_embedding)] if stem else []
        return [Group(rest), *slow, Group(clusters, lr_scale=self.config.cluster_lr, decay=False)]


def _error(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of [B, M, K] with [B, M, K], the mean over images and places."""
    return shared_cross_entropy(logits.flatten(0, 1)[:, None], target.flatten(0, 1))
