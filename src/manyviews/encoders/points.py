"""PointNet++ in plain torch: farthest points, balls around them, and back to all points."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor, nn

from manyviews.core import Encoder, Features, Hide
from manyviews.core.inputs import Points
from manyviews.core.ranges import Count, Natural, Positive
from manyviews.encoders.maps import begin, refuse_tokens

Counts = tuple[Count, ...]


@dataclass(frozen=True, kw_only=True)
class PointNetConfig:
    """PointNet++ with one scale of neighbourhood a level.

    The defaults are for clouds in the unit ball. VoteNet's and DepthContrast's for rooms in metres
    are centres 2048, 1024, 512, 256, radii 0.2, 0.4, 0.8, 1.2, neighbours 64, 32, 16, 16, up 2.

    Attributes:
        input: what it is fed.
        centres: points that are left after each level; not more than there were before.
        radii: of the ball around each of them, in the input's unit.
        neighbours: that are looked at in each ball, at most.
        width: of the first level's layers (w, w, 2w); those of the others are 2w, 2w, 4w.
        up: levels that features are carried back up; as many as there are centres give each point
            of the input a token, 0 leaves tokens at the last level's centres.
        up_width: of the layers that do.
    """

    input: Points = field(default_factory=Points)
    centres: Counts = (256, 64, 16)
    radii: tuple[Positive, ...] = (0.15, 0.3, 0.6)
    neighbours: Counts = (16, 16, 16)
    width: Count = 32
    up: Natural = 0
    up_width: Count = 256

    @property
    def name(self) -> str:
        """As everywhere."""
        return "pointnet"

    def wrong(self) -> Iterator[tuple[str, object, str]]:
        """Levels that do not go together."""
        levels = len(self.centres)
        for name in ("radii", "neighbours"):
            if len(getattr(self, name)) != levels or not levels:
                yield name, getattr(self, name), f"a number for each of {levels} levels"
        sizes = (self.input.count, *self.centres)
        if any(after > before or after < 1 for before, after in pairwise(sizes)):
            yield "centres", self.centres, f"fewer at each level, from {self.input.count} on"
        if self.up > levels:
            yield "up", self.up, f"at most {levels}, the number of levels"


class PointNet(Encoder):
    """Levels of farthest points, each of which gathers what is in a ball around it.

    At each level `centres` points are chosen, each the farthest from those before it; the first
    `neighbours` points in each ball, in stored order, go relative to its middle and in units of its
    radius, beside their features, through 1x1 convolutions with batch norm and ReLU, and the
    largest values are kept (Qi et al. 2017, PointNet++). On the way back a point takes the mean of
    the three nearest features, weighted by 1 / distance. `pooled` is the largest value over all
    tokens; a token is a point of the level that `up` leads back to.

    Sizes, order of neighbours and pooling as DepthContrast's (facebookresearch/DepthContrast,
    models/trunks/pointnet.py), whose sampling leaves out points within 3 cm of the origin; here
    none is.
    """

    def __init__(self, config: PointNetConfig) -> None:
        """Build with random weights."""
        super().__init__()
        self.input, self.config = config.input, config
        w, wide = config.width, config.input.shape[1] - 3
        self.down, self.back = nn.ModuleList(), nn.ModuleList()
        widths = [wide]
        for level in range(len(config.centres)):
            sizes = (w, w, 2 * w) if level == 0 else (2 * w, 2 * w, 4 * w)
            self.down.append(_layers(3 + widths[-1], sizes, flat=False))
            widths.append(sizes[-1])
        for level in range(config.up):
            wide = (config.up_width if level else widths[-1]) + widths[-2 - level]
            sizes = (config.up_width, config.up_width)
            self.back.append(_layers(wide, sizes, flat=True))
        self.dim = config.up_width if config.up else widths[-1]
        self.grid = ((config.input.count, *config.centres)[len(config.centres) - config.up],)
        begin(self)

    def by_depth(self) -> Sequence[Sequence[nn.Parameter]]:
        """Each level, down and up."""
        return [list(level.parameters()) for level in (*self.down, *self.back)]

    def forward(
        self,
        x: Tensor,
        *,
        keep: Tensor | None = None,
        hide: Hide | None = None,
        blocks: int = 0,
        tokens: bool = True,
    ) -> Features:
        """Clouds [B, N, 3 + features] to features.

        Raises:
            Unsupported: keep, hide or blocks was asked for.
        """
        del tokens
        refuse_tokens(keep, hide, blocks, name="PointNet", of="points")
        places, found = [x[..., :3].float()], [x[..., 3:].transpose(1, 2)]
        settings = (self.config.centres, self.config.radii, self.config.neighbours)
        for layers, count, radius, most in zip(self.down, *settings, strict=True):
            xyz, before = places[-1], found[-1]
            middle = rows(xyz, farthest(xyz, count))
            near = in_ball(xyz, middle, radius=radius, most=most)
            offset = (rows(xyz, near) - middle[:, :, None]) / radius
            held = rows(before.transpose(1, 2), near)
            grouped = torch.cat([offset.to(held.dtype), held], dim=-1).permute(0, 3, 1, 2)
            places.append(middle)
            found.append(layers(grouped).amax(dim=3))
        last = found[-1]
        for layers, level in zip(self.back, range(len(places) - 2, -1, -1), strict=False):
            carried = carry(places[level], places[level + 1], last.transpose(1, 2))
            last = layers(torch.cat([carried.transpose(1, 2), found[level]], dim=1))
        return Features(last.amax(dim=2), last.transpose(1, 2))


@torch.no_grad()
def farthest(xyz: Tensor, count: int) -> Tensor:
    """Points that are far from one another: [B, count] int64.

    The first point, and then again and again the one that is farthest from all chosen ones; of
    several as far the first.

    Args:
        xyz: [B, N, 3].
        count: of points, at most N.
    """
    chosen = torch.zeros(len(xyz), count, dtype=torch.int64, device=xyz.device)
    away = torch.full(xyz.shape[:2], torch.inf, dtype=xyz.dtype, device=xyz.device)
    for k in range(1, count):
        last = rows(xyz, chosen[:, k - 1 : k])
        away = torch.minimum(away, (xyz - last).square().sum(dim=2))
        chosen[:, k] = away.argmax(dim=1)
    return chosen


@torch.no_grad()
def in_ball(xyz: Tensor, middle: Tensor, *, radius: float, most: int) -> Tensor:
    """The first points within a radius of each middle, in stored order: [B, M, most] int64.

    Where fewer are, the first of them fills up; where none is, the nearest.

    Args:
        xyz: [B, N, 3].
        middle: [B, M, 3].
        radius: strictly less far than this.
        most: points of each ball.
    """
    exact = "donot_use_mm_for_euclid_dist"
    away = torch.cdist(middle, xyz, compute_mode=exact)
    # How many are within up to each point: a row that only grows, in which the k-th is searched.
    within = (away < radius).cumsum(dim=2, dtype=torch.int32)
    wanted = torch.arange(1, most + 1, dtype=torch.int32, device=xyz.device)
    found = torch.searchsorted(within, wanted.expand(*within.shape[:2], most).contiguous())
    first = torch.where(within[..., -1:] > 0, found[..., :1], away.argmin(dim=2, keepdim=True))
    return torch.where(wanted <= within[..., -1:], found, first)


def carry(to: Tensor, places: Tensor, features: Tensor) -> Tensor:
    """Features [B, M, C] of the three nearest places, by the inverse of their distance: [B, N, C].

    Args:
        to: [B, N, 3], where features are wanted.
        places: [B, M, 3], where they are.
        features: [B, M, C].
    """
    with torch.no_grad():
        exact = "donot_use_mm_for_euclid_dist"
        away, which = torch.cdist(to, places, compute_mode=exact).topk(
            min(3, places.shape[1]), dim=2, largest=False
        )
        weight = 1 / (away + 1e-8)
        weight = (weight / weight.sum(dim=2, keepdim=True)).to(features.dtype)
    return (rows(features, which) * weight[..., None]).sum(dim=2)


def rows(x: Tensor, which: Tensor) -> Tensor:
    """Rows [B, ..., C] of x [B, N, C], by their numbers [B, ...]."""
    flat = which.flatten(1)[..., None].expand(-1, -1, x.shape[2])
    return x.gather(1, flat).unflatten(1, which.shape[1:])


def _layers(wide: int, sizes: Sequence[int], *, flat: bool) -> nn.Sequential:
    """1x1 convolutions with batch norm and ReLU, over [B, C, M, K] or flat [B, C, M]."""
    layers: list[nn.Module] = []
    for out in sizes:
        convolution = nn.Conv1d(wide, out, 1, bias=False)
        norm: nn.Module = nn.BatchNorm1d(out)
        if not flat:
            convolution, norm = nn.Conv2d(wide, out, 1, bias=False), nn.BatchNorm2d(out)
        layers += [convolution, norm, nn.ReLU(inplace=True)]
        wide = out
    return nn.Sequential(*layers)
