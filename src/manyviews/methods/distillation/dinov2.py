"""DINOv2. Oquab et al. 2023, arXiv:2304.07193; facebookresearch/dinov2."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, cast

import torch
from torch import Tensor, nn

from manyviews.core import Batch, Clock, Encoder, Given, Group, Method, Step, wide
from manyviews.core.ranges import (
    POSITIVE,
    SHARE,
    Count,
    NotNegative,
    Positive,
    Range,
    Several,
    Share,
)
from manyviews.core.schedules import Cosine, Ramp
from manyviews.losses.clustering import masked_cross_entropy, swapped_cross_entropy
from manyviews.losses.sphere import koleo
from manyviews.parts.assign import Center, entropies, sinkhorn
from manyviews.parts.branch import Branch
from manyviews.parts.dropout import without_dropout
from manyviews.parts.masking import square_patch
from manyviews.parts.prototypes import DINOHead, TwoHeads
from manyviews.parts.student import Taught, see
from manyviews.parts.targets import EMA


@dataclass(frozen=True, kw_only=True)
class DINOv2Config:
    """Settings of DINOv2; the defaults are those of the authors' long run (vitl14.yaml).

    Shares are of the whole training. What is hidden belongs to the view plan.

    Attributes:
        hidden: width of the heads' two hidden layers.
        bottleneck: width before the prototypes, of views.
        prototypes: K, of views.
        patch_bottleneck: width before the prototypes of patches that have a head of their own.
        patch_prototypes: of the patches, which then have a head of their own; 0 is one head for
            views and patches.
        batch_norm: batch norm in the heads, of views and of patches apart (the authors: none); with
            it small data sets get off the ground.
        patches: weight of the loss of hidden patches.
        koleo: weight of the distances to nearest neighbours, of each global view.
        balance: how the teacher's scores become targets: "sinkhorn" over the batch, or "center",
            a running mean taken off.
        rounds: of Sinkhorn.
        temperature: of the student.
        teacher_temperature: of the teacher; lower is sharper.
        center_momentum: share of the old centre that an update keeps.
        momentum: share of the old teacher that an update keeps.
        frozen_until: share of training with fixed prototypes (the authors: the first epoch).
        patch_embedding: factor on the learning rate of the encoder's patch embedding.
    """

    hidden: Count = 2048
    bottleneck: Count = 384
    prototypes: Several = 131072
    patch_bottleneck: Count = 256
    patch_prototypes: Annotated[int, Range("2 or more, or 0 for the views' own", 2, off=0)] = 131072
    batch_norm: bool = False
    patches: NotNegative = 1.0
    koleo: NotNegative = 0.1
    balance: Literal["sinkhorn", "center"] = "sinkhorn"
    rounds: Count = 3
    temperature: Positive = 0.1
    teacher_temperature: Annotated[Ramp, POSITIVE] = Ramp(0.04, 0.07, 30 / 500)
    center_momentum: Share = 0.9
    momentum: Annotated[Cosine, SHARE] = Cosine(0.994, 1.0)
    frozen_until: Share = 1 / 500
    patch_embedding: Positive = 0.2


class DINOv2(Method):
    """iBOT with targets by Sinkhorn, a head of their own for patches, and samples kept apart."""

    needs: Mapping[str, int] = {"global": 2, "global.mask": 2, "local": 0}
    tokens = True

    def __init__(self, given: Given, config: DINOv2Config) -> None:
        super().__init__(given)
        encoder = given.encoder
        square_patch(encoder, "DINOv2")
        own = config.patch_prototypes
        views = _head(encoder, config, config.bottleneck, config.prototypes)
        patches = _head(encoder, config, config.patch_bottleneck, own) if own else None
        self.online = Branch(encoder, TwoHeads(views, patches))
        self.mask_token = nn.Parameter(torch.zeros(1, encoder.dim))  # two axes, so it decays
        self.target = EMA(self.online, config.momentum)
        without_dropout(self.target)
        self.centers = nn.ModuleDict()
        if config.balance == "center":
            for name, count in (
                ("views", config.prototypes),
                ("patches", own or config.prototypes),
            ):
                self.centers[name] = Center(count, momentum=config.center_momentum)
        self.config = config

    @property
    def encoders(self) -> Mapping[str, Encoder]:
        """The teacher's encoder, which is the better one."""
        return dict.fromkeys(super().encoders, self.target.copy.encoder)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """Cross-entropies of views and of hidden patches, and distances to nearest neighbours."""
        views = batch.views["global"]
        hidden = batch.cues["global.mask"].flatten(0, 1)
        seen = see(self.online, batch, hidden, self.mask_token[0], "DINOv2")
        taught = self._teach(views, hidden, clock)
        at, config = self.config.temperature, self.config
        patches = masked_cross_entropy(seen.patches, taught.patches, hidden, temperature=at)
        losses = {
            "distillation": swapped_cross_entropy(seen.scores, taught.views, temperature=at),
            "patches": config.patches * patches,
        }
        if config.koleo:
            losses["koleo"] = config.koleo * torch.stack([koleo(x) for x in seen.h.unbind(1)]).sum()
        return Step(
            losses,
            self.embedded(taught.pooled.unflatten(0, views.shape[:2])),
            projection=seen.z[:, : views.shape[1]],
            clusters=seen.scores[:, : views.shape[1]] / at,
            fresh=taught.fresh,
            watch=entropies(taught.views),
        )

    @torch.no_grad()
    def _teach(self, views: Tensor, hidden: Tensor, clock: Clock) -> Taught:
        """Targets from whole views [B, V, C, H, W]."""
        features, logits = self.target(views.flatten(0, 1), tokens=True)
        logits = wide(logits)
        head = cast(TwoHeads, self.target.copy.head)
        patches = wide(head.score_patches(features.tokens, hidden))
        fresh = {"logits": logits.mean(dim=0), "patches": patches.sum(dim=0), "count": hidden.sum()}
        return Taught(
            features.pooled,
            self._balanced("views", logits, clock).unflatten(0, views.shape[:2]),
            self._balanced("patches", patches, clock),
            fresh if self.centers else {},
        )

    def _balanced(self, name: str, logits: Tensor, clock: Clock) -> Tensor:
        """[R, K] logits -> targets."""
        temperature = self.config.teacher_temperature.at(clock)
        if self.centers:
            return self.centers[name](logits, temperature=temperature)
        return sinkhorn(logits, temperature=temperature, rounds=self.config.rounds)

    def assign(self, images: Tensor) -> Tensor:
        """The finished teacher's share [B, K] of each prototype, before Sinkhorn evens them out."""
        logits, clock = wide(self.target(images)[1]), Clock(1, 1)
        if self.centers:
            return self._balanced("views", logits, clock)
        return (logits / self.config.teacher_temperature.at(clock)).softmax(dim=-1)

    def after_backward(self, step: Step, clock: Clock) -> None:
        """Move the centres, where there are any."""
        if self.centers:
            cast(Center, self.centers["views"]).update(step.fresh["logits"][None])
            by = cast(Center, self.centers["patches"])
            by.update_by(step.fresh["patches"], step.fresh["count"])

    def after_step(self, clock: Clock) -> None:
        """Move the teacher."""
        self.target.follow(self.online, clock)

    def param_groups(self) -> list[Group]:
        """The prototypes stay as they are at first; the patch embedding learns slowly."""
        last = cast(TwoHeads, self.online.head).last_layers()
        stem = [p for p in self.online.encoder.patch_embedding() if p.requires_grad]
        known = {id(p) for p in (*last, *stem)}
        rest = [p for p in self.parameters() if p.requires_grad and id(p) not in known]
        slow = [Group(stem, lr_scale=self.config.patch_embedding)] if stem else []
        return [Group(rest), *slow, Group(last, frozen_until=self.config.frozen_until)]


def _head(encoder: Encoder, config: DINOv2Config, bottleneck: int, prototypes: int) -> DINOHead:
    return DINOHead(
        encoder.dim,
        hidden=config.hidden,
        bottleneck=bottleneck,
        prototypes=prototypes,
        fixed=False,
        norm=config.batch_norm,
    )
