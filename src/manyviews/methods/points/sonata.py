"""Sonata. Wu et al. 2025, arXiv:2503.16429; Pointcept/Pointcept."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from manyviews.core import Batch, Clock, Encoder, Given, Method, Step, UsageError, wide
from manyviews.core.ranges import POSITIVE, SHARE, Count, NotNegative, Positive, Several
from manyviews.core.schedules import Cosine, Ramp
from manyviews.losses.clustering import masked_cross_entropy
from manyviews.parts.assign import entropies, sinkhorn
from manyviews.parts.correspondence import around, height_in
from manyviews.parts.counted import shuffles
from manyviews.parts.dropout import without_dropout
from manyviews.parts.prototypes import UnitLinear
from manyviews.parts.targets import EMA


@dataclass(frozen=True, kw_only=True)
class SonataConfig:
    """Defaults: Pointcept/Pointcept configs/sonata/pretrain-sonata-v1m1-0-base.py.

    What is hidden, and how much, belongs to the view plan.

    Attributes:
        hidden: width of the heads' hidden layer.
        bottleneck: width before the prototypes.
        prototypes: K, of each head.
        places: of each view at which it is asked.
        radius: of the ball around a place whose points are taken together, in the unit of the
            input: the larger, the less a point's own geometry tells.
        masked: weight of the views with hidden points.
        part: weight of the small views.
        rounds: of Sinkhorn.
        temperature: of the student.
        teacher_temperature: of the teacher; lower is sharper.
        momentum: share of the old teacher that an update keeps.
    """

    hidden: Count = 4096
    bottleneck: Count = 256
    prototypes: Several = 4096
    places: Count = 64
    radius: Positive = 0.32
    masked: NotNegative = 0.5
    part: NotNegative = 0.5
    rounds: Count = 3
    temperature: Positive = 0.1
    teacher_temperature: Annotated[Ramp, POSITIVE] = Ramp(0.04, 0.07, 0.05)
    momentum: Annotated[Cosine, SHARE] = Cosine(0.994, 1.0)


class Sonata(Method):
    """Places of a cloud: a student names the clusters that a teacher finds them in.

    The student sees views with hidden points, and small ones; the teacher two whole ones.
    """

    needs: Mapping[str, int] = {
        **{"global": 2, "masked": 1, "part": 1},
        **{"global.origin": 2, "masked.origin": 1, "part.origin": 1},
    }
    most: Mapping[str, int] = {"global": 2}
    of_one = ("global", "masked", "part")

    def __init__(self, given: Given, config: SonataConfig) -> None:
        super().__init__(given)
        encoder = given.encoder
        heads = {name: ClusterHead(encoder.dim, config) for name in ("masked", "part")}
        self.online = nn.ModuleDict({"encoder": encoder, **heads})
        self.target = EMA(self.online, config.momentum)
        without_dropout(self.target)
        self.config = config

    @property
    def encoders(self) -> Mapping[str, Encoder]:
        """The teacher's encoder, as the authors evaluate."""
        return dict.fromkeys(super().encoders, self.target.copy["encoder"])  # pyright: ignore[reportReturnType] - put there above

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """Cross-entropy of the student's clusters with the teacher's, at the same places."""
        views, config = batch.views["global"], self.config
        with torch.no_grad():
            whole = self.target.copy["encoder"](views.flatten(0, 1))
        taught = whole.tokens.unflatten(0, views.shape[:2])
        losses: dict[str, Tensor] = {}
        watch = height_in(taught[:, 0], batch.cues["global.origin"][:, 0].float())
        # Views with hidden points learn from either whole view, small ones from the first.
        for name, branch, teachers in (("masked", 0, (0, 1)), ("part", 1, (0,))):
            places, scores = self._asked(batch, clock, name, branch)
            found: list[Tensor] = []
            for t in teachers:
                origin = batch.cues["global.origin"][:, t].float()
                target, there = self._taught(name, taught[:, t], origin, places, clock)
                rows = scores.flatten(0, 1)[there.flatten(0, 1)]
                at = config.temperature
                found.append(
                    masked_cross_entropy(rows, target, there.flatten(0, 1), temperature=at)
                )
                watch |= entropies(target)
            losses[name] = getattr(config, name) * torch.stack(found).mean()
        return Step(losses, self.embedded(whole.pooled.unflatten(0, views.shape[:2])), watch=watch)

    def _asked(self, batch: Batch, clock: Clock, name: str, branch: int) -> tuple[Tensor, Tensor]:
        """Some places of each view of a family [B, V, P, 3], and the student's scores there."""
        views, origin = batch.views[name], batch.cues[f"{name}.origin"].float()
        tokens = self.online["encoder"](views.flatten(0, 1)).tokens.unflatten(0, views.shape[:2])
        if tokens.shape[2] != origin.shape[2]:
            raise UsageError(
                f"Sonata needs a token for each of {origin.shape[2]} points; the encoder has "
                f"{tokens.shape[2]}. Choose one that has, as pointnet with --encoder.up."
            )
        order = shuffles(batch.index, count=origin.shape[2], step=clock.step, branch=branch)
        some = order.argsort(dim=1)[:, None, : self.config.places, None]
        places = origin.gather(2, some.expand(-1, origin.shape[1], -1, 3))
        mean, _ = around(tokens, origin, places, radius=self.config.radius)
        return places, self.online[name](mean)

    @torch.no_grad()
    def _taught(
        self, name: str, tokens: Tensor, origin: Tensor, places: Tensor, clock: Clock
    ) -> tuple[Tensor, Tensor]:
        """Targets [M, K] of the places [B, V, P, 3] that a whole view has, and which those are."""
        count = places.shape[1]
        mean, there = around(
            tokens[:, None].expand(-1, count, -1, -1),
            origin[:, None].expand(-1, count, -1, -1),
            places,
            radius=self.config.radius,
        )
        scores = wide(self.target.copy[name](mean[there]))
        temperature = self.config.teacher_temperature.at(clock)
        return sinkhorn(scores, temperature=temperature, rounds=self.config.rounds), there

    @torch.no_grad()
    def assign(self, clouds: Tensor) -> Tensor:
        """The share [B, K] of each prototype in clouds [B, N, C], the mean over their points."""
        tokens = self.target.copy["encoder"](clouds).tokens
        scores = wide(self.target.copy["masked"](tokens))
        temperature = self.config.teacher_temperature.at(Clock(1, 1))
        return (scores / temperature).softmax(dim=-1).mean(dim=1)

    def after_step(self, clock: Clock) -> None:
        """Move the teacher."""
        self.target.follow(self.online, clock)


class ClusterHead(nn.Module):
    """Two linear layers, a unit-length bottleneck, then prototypes of length 1: [..., D] -> K."""

    def __init__(self, dim: int, config: SonataConfig) -> None:
        super().__init__()
        first = nn.Linear(dim, config.hidden)
        second = nn.Linear(config.hidden, config.bottleneck)
        self.mlp = nn.Sequential(first, nn.GELU(), second)
        for layer in (first, second):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        self.prototypes = UnitLinear(config.bottleneck, config.prototypes)

    def forward(self, x: Tensor) -> Tensor:
        """Cosines with the prototypes."""
        return self.prototypes(F.normalize(self.mlp(x), dim=-1))
