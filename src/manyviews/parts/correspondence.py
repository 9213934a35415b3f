"""Points of two views that were at one place of a cloud."""

from dataclasses import dataclass

import torch
from torch import Tensor

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
