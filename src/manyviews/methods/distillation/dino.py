"""DINO. Caron et al. 2021, arXiv:2104.14294; facebookresearch/dino."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, cast

from torch import Tensor

from manyviews.core import Batch, Clock, Encoder, Given, Group, Method, Step, flat, wide
from manyviews.core.ranges import POSITIVE, SHARE, Count, Positive, Several, Share
from manyviews.core.schedules import Cosine, Ramp
from manyviews.losses.clustering import swapped_cross_entropy
from manyviews.parts.assign import Center, entropies
from manyviews.parts.branch import Branch
from manyviews.parts.crops import encode_crops
from manyviews.parts.dropout import without_dropout
from manyviews.parts.prototypes import DINOHead
from manyviews.parts.targets import EMA


@dataclass(frozen=True, kw_only=True)
class DINOConfig:
    """Settings of DINO; shares are of the whole training.

    Attributes:
        hidden: width of the head's two hidden layers.
        bottleneck: width before the prototypes.
        prototypes: K.
        batch_norm: batch norm in the head (the authors: not with ViTs).
        fixed_lengths: prototypes keep length 1; steadier, at some cost of accuracy for small ViTs.
        temperature: of the student.
        teacher_temperature: of the teacher; lower is sharper.
        center_momentum: share of the old centre that an update keeps.
        momentum: share of the old teacher that an update keeps.
        frozen_until: share of training with fixed prototypes (the authors: the first epoch).
    """

    hidden: Count = 2048
    bottleneck: Count = 256
    prototypes: Several = 65536
    batch_norm: bool = False
    fixed_lengths: bool = True
    temperature: Positive = 0.1
    teacher_temperature: Annotated[Ramp, POSITIVE] = Ramp(0.04, 0.07, fraction=0.1, by_epoch=True)
    center_momentum: Share = 0.9
    momentum: Annotated[Cosine, SHARE] = Cosine(0.996, 1.0)
    frozen_until: Share = 0.01


class DINO(Method):
    """Each view predicts what a slow copy of the network makes of the other, global views."""

    needs: Mapping[str, int] = {"global": 2, "local": 0}

    def __init__(self, given: Given, config: DINOConfig) -> None:
        super().__init__(given)
        encoder = given.encoder
        head = DINOHead(
            encoder.dim,
            hidden=config.hidden,
            bottleneck=config.bottleneck,
            prototypes=config.prototypes,
            fixed=config.fixed_lengths,
            norm=config.batch_norm,
        )
        self.online = Branch(encoder, head)
        self.target = EMA(self.online, config.momentum)
        without_dropout(self.target)
        self.center = Center(config.prototypes, momentum=config.center_momentum)
        self.config = config

    @property
    def encoders(self) -> Mapping[str, Encoder]:
        """The teacher's encoder, which is the better one."""
        return dict.fromkeys(super().encoders, self.target.copy.encoder)

    @property
    def _head(self) -> DINOHead:
        return cast(DINOHead, self.online.head)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """Cross-entropy between the teacher's and the student's distributions."""
        views = batch.views["global"]
        count = views.shape[1]
        # The teacher goes first: its memory is free again before the student fills its own.
        _, logits = self.target(views.flatten(0, 1))
        logits = wide(logits).unflatten(0, views.shape[:2])
        h = encode_crops(self.online.encoder, batch.views)
        z = flat(self._head.embed, h)  # [B, V, P], global views first
        scores = self._head.last_layer(z)
        target = self.center(logits, temperature=self.config.teacher_temperature.at(clock))
        loss = swapped_cross_entropy(scores, target, temperature=self.config.temperature)
        return Step(
            {"distillation": loss},
            self.embedded(h[:, :count]),
            projection=z[:, :count],
            clusters=scores[:, :count] / self.config.temperature,
            fresh={"logits": logits.mean(dim=(0, 1))},
            watch=entropies(target),
        )

    def assign(self, images: Tensor) -> Tensor:
        """The finished teacher's share [B, K] of each prototype in images [B, C, H, W]."""
        temperature = self.config.teacher_temperature.at(Clock(1, 1))
        return self.center(wide(self.target(images)[1]), temperature=temperature)

    def after_backward(self, step: Step, clock: Clock) -> None:
        """Move the centre."""
        self.center.update(step.fresh["logits"][None])

    def after_step(self, clock: Clock) -> None:
        """Move the teacher."""
        self.target.follow(self.online, clock)

    def param_groups(self) -> list[Group]:
        """The prototypes stay as they are at first."""
        last = list(self._head.last_layer.parameters())
        known = {id(p) for p in last}
        rest = [p for p in self.online.parameters() if p.requires_grad and id(p) not in known]
        frozen = self.config.frozen_until
        return [Group(rest), Group([p for p in last if p.requires_grad], frozen_until=frozen)]
