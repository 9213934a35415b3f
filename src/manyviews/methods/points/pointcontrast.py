"""PointContrast. Xie et al. 2020, arXiv:2007.10985; facebookresearch/PointContrast."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from manyviews.core import Batch, Clock, Given, Method, Step, UsageError, comm
from manyviews.core.ranges import Count, Positive
from manyviews.losses.contrastive import unit
from manyviews.losses.points import hardest_contrastive, point_info_nce
from manyviews.parts.correspondence import EXACT, Correspondences, height_in, pairs
from manyviews.parts.counted import shuffles


@dataclass(frozen=True, kw_only=True)
class PointContrastConfig:
    """Defaults: facebookresearch/PointContrast pretrain/pointcontrast/config, scripts.

    Attributes:
        loss: "info_nce" finds each point's partner among those of all pairs, "hardest" pushes each
            point from the nearest of some others.
        temperature: of the softmax of "info_nce".
        pairs: of each cloud.
        candidates: points of each view among which "hardest" looks for the nearest.
        near: squared distance up to which the two of a pair may stay, of "hardest".
        far: distance from which on others are left alone, of "hardest".
        radius: points of two views that were less far apart are one, in the unit of the input;
            the authors' 1.5 voxels of 2.5 cm.
        out: width of a point's projection.
    """

    loss: Literal["info_nce", "hardest"] = "info_nce"
    temperature: Positive = 0.4
    pairs: Count = 1024
    candidates: Count = 256
    near: Positive = 0.1
    far: Positive = 1.4
    radius: Positive = 0.0375
    out: Count = 32


class PointContrast(Method):
    """A point of a cloud is known again in another view of it, by its features alone."""

    needs: Mapping[str, int] = {"global": 2, "global.origin": 2}
    of_one = ("global",)
    most: Mapping[str, int] = {"global": 2}

    def __init__(self, given: Given, config: PointContrastConfig) -> None:
        super().__init__(given)
        self.config = config
        self.online = given.encoder
        self.head = nn.Linear(self.online.dim, config.out)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """Points that both views have, by the places that they had before they were moved."""
        features = [self.online(view) for view in batch.views["global"].unbind(1)[:2]]
        z = torch.stack([unit(self.head(f.tokens)) for f in features], dim=1)
        origin = batch.cues["global.origin"][:, :2].float()
        if z.shape[2] != origin.shape[2]:
            raise UsageError(
                f"PointContrast needs a token for each of {origin.shape[2]} points; the encoder "
                f"has {z.shape[2]}. Choose one that has, as pointnet with --encoder.up."
            )
        count, radius = min(self.config.pairs, z.shape[2]), self.config.radius
        found = pairs(origin, batch.index, count=count, radius=radius, step=clock.step)
        both = [_take(z[:, v], which) for v, which in enumerate((found.first, found.second))]
        if self.config.loss == "info_nce":
            temperature = self.config.temperature
            first, second = (x.flatten(0, 1) for x in both)
            there = found.there.flatten()
            loss = point_info_nce(first, second, there, temperature=temperature)
            chance = comm.total(found.there.sum()).clamp(min=2).log()
            floor = loss.detach() / chance
            losses, watch = {"info_nce": loss}, {"contrastive_floor": floor}
        else:
            losses, watch = self._hardest(z, origin, both, found, batch.index, clock), {}
        watch |= height_in(features[0].tokens, origin[:, 0])
        embedding = torch.stack([f.pooled for f in features], dim=1)
        return Step(losses, self.embedded(embedding), watch=watch)

    def _hardest(
        self,
        z: Tensor,
        origin: Tensor,
        both: list[Tensor],
        found: Correspondences,
        index: Tensor,
        clock: Clock,
    ) -> dict[str, Tensor]:
        some = [self._candidates(z, index, clock, view) for view in (0, 1)]
        where = [_take(origin[:, v], which) for v, which in enumerate((found.first, found.second))]
        at = [_take(origin[:, v], which) for v, which in enumerate(some)]
        one, two = (x.flatten(0, 1) for x in both)
        of_one, of_two = (_take(z[:, v], which).flatten(0, 1) for v, which in enumerate(some))
        together, apart = hardest_contrastive(
            one,
            two,
            of_one,
            of_two,
            found.there.flatten(),
            same_first=self._same(where[1], at[0], index),
            same_second=self._same(where[0], at[1], index),
            near=self.config.near,
            far=self.config.far,
        )
        return {"together": together, "apart": apart}

    def _candidates(self, z: Tensor, index: Tensor, clock: Clock, view: int) -> Tensor:
        """[B, C] of a view's tokens."""
        order = shuffles(index, count=z.shape[2], step=clock.step, branch=1 + view)
        return order.argsort(dim=1)[:, : self.config.candidates]

    def _same(self, where: Tensor, at: Tensor, index: Tensor) -> Tensor:
        """[B P, W B C]: whether candidates of all ranks are where points of this one are."""
        everywhere, whose = comm.gather(at), comm.gather(index)
        points, others = where.flatten(0, 1), everywhere.flatten(0, 1)
        near = torch.cdist(points, others, compute_mode=EXACT) < self.config.radius
        own = index.repeat_interleave(where.shape[1])
        theirs = whose.repeat_interleave(everywhere.shape[1])
        return near & (own[:, None] == theirs[None, :])


def _take(x: Tensor, which: Tensor) -> Tensor:
    """Rows [B, P, D] of x [B, N, D], by their numbers [B, P]."""
    return x.gather(1, which[..., None].expand(-1, -1, x.shape[2]))
