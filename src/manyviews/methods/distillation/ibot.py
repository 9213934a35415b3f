"""iBOT. Zhou et al. 2022, arXiv:2111.07832; bytedance/ibot."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, cast

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
from manyviews.parts.assign import Center, entropies
from manyviews.parts.branch import Branch
from manyviews.parts.dropout import without_dropout
from manyviews.parts.masking import square_patch
from manyviews.parts.prototypes import IBOTHead
from manyviews.parts.student import Taught, see
from manyviews.parts.targets import EMA


@dataclass(frozen=True, kw_only=True)
class IBOTConfig:
    """Settings of iBOT; shares are of the whole training. What is hidden belongs to the view plan.

    Attributes:
        hidden: width of the head's two hidden layers.
        bottleneck: width before the prototypes.
        prototypes: K.
        patch_prototypes: of the patches, which then have a last layer of their own; 0 is one layer
            for views and patches.
        batch_norm: batch norm in the head, of views and of patches apart (the authors: none); with
            it small data sets get off the ground.
        fixed_lengths: prototypes keep length 1; steadier, at some cost of accuracy for small ViTs.
        patches: weight of the loss of hidden patches.
        temperature: of the student.
        teacher_temperature: of the teacher of views; lower is sharper.
        patch_temperature: of the teacher of patches.
        center_momentum: share of the old centre that an update keeps.
        momentum: share of the old teacher that an update keeps.
        frozen_until: share of training with fixed prototypes (the authors: the first epoch).
    """

    hidden: Count = 2048
    bottleneck: Count = 256
    prototypes: Several = 8192
    patch_prototypes: Annotated[int, Range("2 or more, or 0 for the views' own", 2, off=0)] = 0
    batch_norm: bool = False
    fixed_lengths: bool = False
    patches: NotNegative = 1.0
    temperature: Positive = 0.1
    teacher_temperature: Annotated[Ramp, POSITIVE] = Ramp(0.04, 0.07, 30 / 800, by_epoch=True)
    patch_temperature: Annotated[Ramp, POSITIVE] = Ramp(0.04, 0.07, 30 / 800, by_epoch=True)
    center_momentum: Share = 0.9
    momentum: Annotated[Cosine, SHARE] = Cosine(0.996, 1.0)
    frozen_until: Share = 1 / 800


class IBOT(Method):
    """DINO of views with hidden patches, which predict what the teacher sees in their places."""

    needs: Mapping[str, int] = {"global": 2, "global.mask": 2, "local": 0}
    tokens = True

    def __init__(self, given: Given, config: IBOTConfig) -> None:
        super().__init__(given)
        encoder = given.encoder
        square_patch(encoder, "iBOT")
        head = IBOTHead(
            encoder.dim,
            hidden=config.hidden,
            bottleneck=config.bottleneck,
            prototypes=config.prototypes,
            patch_prototypes=config.patch_prototypes,
            fixed=config.fixed_lengths,
            norm=config.batch_norm,
        )
        self.online = Branch(encoder, head)
        self.mask_token = nn.Parameter(torch.zeros(1, encoder.dim))  # two axes, so it decays
        self.target = EMA(self.online, config.momentum)
        without_dropout(self.target)
        prototypes = (config.prototypes, config.patch_prototypes or config.prototypes)
        self.center, self.patch_center = (
            Center(count, momentum=config.center_momentum) for count in prototypes
        )
        self.config = config

    @property
    def encoders(self) -> Mapping[str, Encoder]:
        """The teacher's encoder, which is the better one."""
        return dict.fromkeys(super().encoders, self.target.copy.encoder)

    @property
    def _head(self) -> IBOTHead:
        return cast(IBOTHead, self.online.head)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """Cross-entropy of views as in DINO, and of each hidden patch with the teacher's."""
        views = batch.views["global"]
        hidden = batch.cues["global.mask"].flatten(0, 1)
        seen = see(self.online, batch, hidden, self.mask_token[0], "iBOT")
        taught = self._teach(views, hidden, clock)
        at = self.config.temperature
        patches = masked_cross_entropy(seen.patches, taught.patches, hidden, temperature=at)
        return Step(
            {
                "distillation": swapped_cross_entropy(seen.scores, taught.views, temperature=at),
                "patches": self.config.patches * patches,
            },
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
        logits = wide(logits).unflatten(0, views.shape[:2])
        head = cast(IBOTHead, self.target.copy.head)
        z = head.embed(features.tokens.flatten(0, 1)).unflatten(0, hidden.shape)  # [B V, N, P]
        patches = wide(head.patches(z[hidden]))
        # The last layer is linear, so the mean of all patches' logits needs it once.
        mean = wide(head.patches(wide(z).mean(dim=(0, 1), keepdim=True)))[0, 0]
        config = self.config
        return Taught(
            features.pooled,
            self.center(logits, temperature=config.teacher_temperature.at(clock)),
            self.patch_center(patches, temperature=config.patch_temperature.at(clock)),
            {"logits": logits.mean(dim=(0, 1)), "patches": mean},
        )

    def assign(self, images: Tensor) -> Tensor:
        """The finished teacher's share [B, K] of each prototype in images [B, C, H, W]."""
        temperature = self.config.teacher_temperature.at(Clock(1, 1))
        return self.center(wide(self.target(images)[1]), temperature=temperature)

    def after_backward(self, step: Step, clock: Clock) -> None:
        """Move both centres."""
        self.center.update(step.fresh["logits"][None])
        self.patch_center.update(step.fresh["patches"][None])

    def after_step(self, clock: Clock) -> None:
        """Move the teacher."""
        self.target.follow(self.online, clock)

    def param_groups(self) -> list[Group]:
        """The prototypes stay as they are at first."""
        layers = [m for m in (self._head.last_layer, self._head.last_layer2) if m is not None]
        last = [p for layer in layers for p in layer.parameters() if p.requires_grad]
        known = {id(p) for p in last}
        rest = [p for p in self.parameters() if p.requires_grad and id(p) not in known]
        return [Group(rest), Group(last, frozen_until=self.config.frozen_until)]
