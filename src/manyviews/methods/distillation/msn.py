"""MSN and PMSN. Assran et al. 2022, arXiv:2204.07141 and 2210.07277; facebookresearch/msn."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core import Batch, Clock, Encoder, Given, Group, Method, Step, flat, wide
from manyviews.core.ranges import SHARE, Count, Natural, NotNegative, Positive, Several
from manyviews.core.schedules import Ramp
from manyviews.losses.clustering import shared_cross_entropy
from manyviews.losses.entropy import prior_divergence
from manyviews.parts.assign import entropies, sinkhorn
from manyviews.parts.branch import Branch
from manyviews.parts.dropout import without_dropout
from manyviews.parts.masking import check_views, square_patch, visible
from manyviews.parts.prototypes import UnitLinear, narrowing
from manyviews.parts.targets import EMA


@dataclass(frozen=True, kw_only=True)
class MSNConfig:
    """Settings of MSN; what is hidden belongs to the view plan.

    Attributes:
        hidden: width of the head's two hidden layers.
        out: width of its output.
        prototypes: K.
        temperature: of cosines.
        sharpening: targets are raised to one over it and normalised.
        rounds: of Sinkhorn on the sharpened targets; 0 for none.
        spread: weight of the term that has prototypes used as the prior says.
        prior: the k-th prototype is to have a share in proportion to k^-prior. 0, all alike, is
            MSN and keeps the mean distribution's entropy high; above 0 is PMSN.
        momentum: share of the old teacher that an update keeps.
    """

    hidden: Count = 2048
    out: Count = 256
    prototypes: Several = 1024
    temperature: Positive = 0.1
    sharpening: Positive = 0.25
    rounds: Natural = 3
    spread: NotNegative = 1.0
    prior: NotNegative = 0.0
    momentum: Annotated[Ramp, SHARE] = Ramp(0.996, 0.9992, fraction=1.0)

    def wrong(self) -> Iterator[tuple[str, object, str]]:
        """A prior whose effect Sinkhorn undoes."""
        if self.prior and self.rounds:
            yield "rounds", self.rounds, "0 with a prior, as Sinkhorn has all used alike"


class MSN(Method):
    """Masked and small views are assigned to the prototypes of a whole view of the same image."""

    needs: Mapping[str, int] = {"global": 2, "global.mask": 2, "local": 0}
    tokens = True

    def __init__(self, given: Given, config: MSNConfig) -> None:
        super().__init__(given)
        encoder = given.encoder
        square_patch(encoder, "MSN")
        head = narrowing(encoder.dim, hidden=config.hidden, out=config.out, norm=True)
        self.online = Branch(encoder, head)
        self.prototypes = UnitLinear(config.out, config.prototypes)
        self.target = EMA(self.online, config.momentum)
        without_dropout(self.target)
        self.config = config

    @property
    def encoders(self) -> Mapping[str, Encoder]:
        """The target encoder, as the authors evaluate."""
        return dict.fromkeys(super().encoders, self.target.copy.encoder)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """Cross-entropy of every anchor with the first view's target, and the use of prototypes."""
        views = batch.views["global"]
        anchors, hidden = views[:, 1:].flatten(0, 1), batch.cues["global.mask"][:, 1:].flatten(0, 1)
        check_views(self.online.encoder, anchors, hidden, "MSN")
        # The teacher goes first: its memory is free again before the student fills its own.
        whole, z = self.target(views[:, 0])
        target = self._target(self._scores(F.normalize(wide(z), dim=-1)))
        # Each resolution by itself through the head: its norms see one at a time, as the authors'.
        found = [self.online(anchors, keep=visible(hidden))[1].unflatten(0, (len(views), -1))]
        if "local" in batch.views:
            found.append(flat(lambda x: self.online(x)[1], batch.views["local"]))
        z = F.normalize(wide(torch.cat(found, dim=1)), dim=-1)  # [B, A, P]
        logits = self._scores(z) / self.config.temperature
        use = prior_divergence(logits.flatten(0, 1).softmax(dim=-1), self._log_prior(logits))
        return Step(
            {
                "assignment": shared_cross_entropy(logits, target),
                "use": self.config.spread * use,
            },
            self.embedded(whole.pooled[:, None]),
            projection=z,
            clusters=logits,
            watch=entropies(target),
        )

    def assign(self, images: Tensor) -> Tensor:
        """Share [B, K] of each prototype in images [B, C, H, W], sharpened."""
        scores = self._scores(F.normalize(wide(self.target(images)[1]), dim=-1))
        return self._sharp(scores).exp()

    def _scores(self, z: Tensor) -> Tensor:
        """[..., P] of length 1 -> [..., K] cosines, in full precision: they are made large."""
        with torch.autocast(z.device.type, enabled=False):
            return self.prototypes(z)

    def _sharp(self, scores: Tensor) -> Tensor:
        """[B, K] cosines -> log-probabilities p^(1/T), normalised."""
        scale = self.config.temperature * self.config.sharpening
        return (scores / scale).log_softmax(dim=-1)

    @torch.no_grad()
    def _target(self, scores: Tensor) -> Tensor:
        """[B, K] cosines -> [B, K] probabilities."""
        sharp = self._sharp(scores)
        if not self.config.rounds:
            return sharp.exp()
        return sinkhorn(sharp, temperature=1.0, rounds=self.config.rounds)

    def _log_prior(self, like: Tensor) -> Tensor:
        """[K]: the logarithms of what shares the prototypes are to have."""
        rank = torch.arange(1, like.shape[-1] + 1, device=like.device, dtype=like.dtype)
        return (-self.config.prior * rank.log()).log_softmax(dim=0)

    def after_step(self, clock: Clock) -> None:
        """Move the teacher."""
        self.target.follow(self.online, clock)

    def param_groups(self) -> list[Group]:
        """The prototypes are not decayed."""
        online = [p for p in self.online.parameters() if p.requires_grad]
        return [Group(online), Group([self.prototypes.weight_v], decay=False)]
