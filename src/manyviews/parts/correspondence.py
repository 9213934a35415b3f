"""Points of two views that were at one place of a cloud."""

from dataclasses import dataclass

import torch
from torch import Tensor

from manyviews.core import comm
from manyviews.losses.points import height_share
from manyviews.parts.counted import shuffles

EXACT = "donot_use_mm_for_euclid_dist"
"""Of torch.cdist: products would round small distances away."""


@dataclass(frozen=True)
class Correspondences:
    """Tokens of two views that are the same point, for each of B samples.

    Attributes:
        first: [B, P] int64, tokens of the first view.
        second: [B, P] int64, the nearest token of the second view.
        there: [B, P] bool, whether that is near enough; the rest are to be left out.
    """

    first: Tensor
    second: Tensor
    there: Tensor


@torch.no_grad()
def pairs(
    origin: Tensor, index: Tensor, *, count: int, radius: float, step: int
) -> Correspondences:
    """Draw points of the first view that are in the second too, each with the nearest one there.

    A point that stands in the first view more than once, as where a crop left fewer than are fed,
    is drawn once: else it would be its own negative. The same again at the second call, in a
    resumed run, and on any number of ranks.

    Args:
        origin: [B, 2, N, 3], where the tokens were before the views were moved.
        index: [B] int64, the samples.
        count: P, or N where that is less.
        radius: two tokens that were less far apart are one point.
        step: of the optimiser.
    """
    away, nearest = torch.cdist(origin[:, 0], origin[:, 1], compute_mode=EXACT).min(dim=2)
    again = torch.cdist(origin[:, 0], origin[:, 0], compute_mode=EXACT) == 0
    near = (away < radius) & ~again.tril(-1).any(dim=2)
    order = shuffles(index, count=near.shape[1], step=step)
    # Those without a partner come last.
    first = (order + (~near) * 2**62).argsort(dim=1)[:, :count]
    return Correspondences(first, nearest.gather(1, first), near.gather(1, first))


def around(
    tokens: Tensor, origin: Tensor, places: Tensor, *, radius: float
) -> tuple[Tensor, Tensor]:
    """What tokens within a ball around each place are in the mean, and whether there is any.

    Args:
        tokens: [B, V, N, D].
        origin: [B, V, N, 3], where they were before the views were moved.
        places: [B, V, P, 3].
        radius: of the balls.

    Returns:
        [B, V, P, D], 0 where no token is; and [B, V, P] bool.
    """
    with torch.no_grad():
        near = torch.cdist(places, origin, compute_mode=EXACT) < radius
        count = near.sum(dim=3, keepdim=True)
        weight = near.to(tokens.dtype) / count.clamp(min=1)
    return weight @ tokens, count.squeeze(3) > 0


_CLOUDS, _POINTS = 16, 128
"""What is looked at in a step, which costs little beside it."""


@torch.no_grad()
def height_in(tokens: Tensor, origin: Tensor) -> dict[str, Tensor]:
    """What share of what features of points tell is their place along one axis, as "height".

    Of the axis that tells most, as nobody says here which one points upwards; in the frame of the
    cloud, before views were moved. The mean over ranks.

    Args:
        tokens: [B, N, D] of one view, its points in any order that does not depend on place.
        origin: [B, N, 3].
    """
    some, where = tokens[:_CLOUDS, :_POINTS], origin[:_CLOUDS, :_POINTS]
    shares = torch.stack([height_share(some, where[..., axis]) for axis in range(3)])
    return {"height": comm.mean(shares.amax())}
