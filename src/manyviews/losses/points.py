"""Losses over points of which it is known which ones are the same, and what gives them away."""

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core import comm
from manyviews.losses.precision import full_precision

_LEAST = 1e-7
BANDS = 16
"""Equally full layers of a cloud, one above the other."""


@full_precision
def hardest_contrastive(
    first: Tensor,
    second: Tensor,
    pool_first: Tensor,
    pool_second: Tensor,
    weight: Tensor,
    *,
    same_first: Tensor,
    same_second: Tensor,
    near: float,
    far: float,
) -> tuple[Tensor, Tensor]:
    """Draw pairs together, and push each point from the nearest of others.

    The mean over pairs of relu(|f - g|^2 - near), and half the sum of the means over f and over g
    of relu(far - d)^2, where d is the distance to the nearest of the other view's pool, not
    squared. A point whose nearest one in the pool is itself (`same`) is left out of the latter.

    Args:
        first: [P, D] f, of this rank.
        second: [P, D] g; row i is the same point as row i of `first`.
        pool_first: [C, D], this rank's candidates in the first view, for g; every point is
            compared with those of all ranks.
        pool_second: likewise in the second view, for f.
        weight: [P] bool, which pairs count.
        same_first: [P, W C] bool: whether candidate j of the first view, of all W ranks, is where
            g_i is.
        same_second: whether candidate j of the second view is where f_i is.
        near: of squared distances.
        far: of distances.

    Returns:
        The two scalars; the mean over ranks is that over all pairs. Under autocast float32.

    Source: Xie et al. 2020 (PointContrast), equation 1; facebookresearch/PointContrast
    pretrain/pointcontrast/lib/ddp_trainer.py, contrastive_hardest_negative_loss.
    """
    together = _mean(((first - second).square().sum(dim=1) - near).relu(), weight)
    apart: list[Tensor] = []
    for points, pool, own in ((first, pool_second, same_second), (second, pool_first, same_first)):
        away = _distances(points, comm.gather(pool))
        nearest, which = away.min(dim=1)
        other = ~own.gather(1, which[:, None])[:, 0]
        apart.append(_mean((far - nearest).relu().square(), weight & other))
    return together, torch.stack(apart).mean()


@full_precision
def point_info_nce(first: Tensor, second: Tensor, weight: Tensor, *, temperature: float) -> Tensor:
    """Find each point's own point of the other view among those of all pairs of all ranks.

    The mean over pairs of -log(exp(f_i.g_i / T) / sum over pairs j of exp(f_i.g_j / T)).

    Args:
        first: [P, D] unit vectors f of this rank.
        second: [P, D] unit vectors g; row i is the same point as row i of `first`.
        weight: [P] bool, which pairs count; the others are no negatives either.
        temperature: T.

    Returns:
        Scalar; the mean over ranks is that over all pairs. Under autocast float32.

    Source: Xie et al. 2020 (PointContrast), equation 2.
    """
    keys, there = comm.gather(second), comm.gather(weight)
    logits = (first @ keys.T / temperature).masked_fill(~there[None, :], -torch.inf)
    own = comm.share(torch.arange(len(keys), device=keys.device))
    # A pair that does not count may be the only one, and its row then has nothing to sum.
    at = (first * second).sum(dim=1) / temperature
    logits = logits.scatter(1, own[:, None], at[:, None])
    return _mean(logits.logsumexp(dim=1) - at, weight)


def _distances(x: Tensor, y: Tensor) -> Tensor:
    """[P, N], with a gradient where two are alike."""
    squares = x.square().sum(dim=1)[:, None] + y.square().sum(dim=1) - 2 * x @ y.T
    return (squares.clamp(min=0) + _LEAST).sqrt()


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """Over those that count, of all ranks; 0 where none does."""
    count = comm.mean(weight.sum().to(values.dtype))
    return (values * weight).sum() / torch.where(count > 0, count, 1.0)


@torch.no_grad()
def height_share(features: Tensor, heights: Tensor, *, bands: int = BANDS) -> Tensor:
    """The share of the variance of points' features that their height in the cloud explains.

    Heights are cut into equally full bands, cloud by cloud; it is the variance between the means
    of bands over all clouds, over the whole. 0 where features do not know height, 1 where they
    know nothing else. The mean over N points of noise is about `bands` / N.

    Args:
        features: [B, P, D] of the points of B clouds; normalised here.
        heights: [B, P] of those points.
        bands: of each cloud.

    Returns:
        Scalar float64.
    """
    x = F.normalize(features.double(), dim=2).flatten(0, 1)
    place = heights.argsort(dim=1).argsort(dim=1)
    band = (place * bands // heights.shape[1]).flatten()
    x = x - x.mean(dim=0)
    total = x.square().sum()
    sums = x.new_zeros(bands, x.shape[1]).index_add_(0, band, x)
    count = torch.bincount(band, minlength=bands).clamp_min(1)
    between = (sums.square().sum(dim=1) / count).sum()
    return torch.where(total > 1e-12, between / total.clamp_min(1e-12), torch.zeros_like(total))
