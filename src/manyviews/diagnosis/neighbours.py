"""What nearest neighbours say of features without labels."""

import torch
from torch import Tensor

from manyviews.core import UsageError
from manyviews.diagnosis.spectrum import check_features, check_views
from manyviews.diagnosis.stability import graph_stability
from manyviews.diagnosis.uniformity import unit


def view_consistency(a: Tensor, b: Tensor, *, chunk: int = 1024) -> float:
    """Share of images whose nearest neighbour among the second views is their own second view.

    Rises through training and falls on collapse; trivial where the views hardly differ.

    Args:
        a: [N, D], features of one view of each image.
        b: [N, D], of the other.
        chunk: rows compared at a time; does not change the result.

    Returns:
        0 to 1. An image that ties with others counts as one over the number that tie.

    Raises:
        UsageError: unusable features, or shapes that differ.
    """
    check_views(a, b)
    first, second = unit(a), unit(b)
    won = 0.0
    for start in range(0, len(first), chunk):
        similarity = first[start : start + chunk] @ second.T
        best = similarity.amax(dim=1, keepdim=True)
        tied = similarity >= best - 1e-6
        own = tied.diagonal(offset=start)
        won += float((own / tied.sum(dim=1)).sum())
    return won / len(first)


def shared_neighbours(a: Tensor, b: Tensor, *, k: int = 10) -> float:
    """Whether both views of an image have the same other images near them.

    Ours. Unlike `view_consistency` it asks nothing of the image itself, so that views cannot be
    matched by what belongs to one image alone: where images have nothing in common, as noise has
    not, it stays at chance.

    Args:
        a: [N, D], features of one view of each image.
        b: [N, D], of the other.
        k: neighbours, the image itself not counted; fewer where there are fewer images.

    Returns:
        Mean overlap (Jaccard), 0 to 1; about k / (2 N - k) by chance.

    Raises:
        UsageError: unusable features, shapes that differ, or fewer than 3 images.
    """
    check_views(a, b)
    return graph_stability(a, b, k=min(k, len(a) - 2))


def twonn(features: Tensor, *, drop: float = 0.1, chunk: int = 1024) -> float:
    """Intrinsic dimension by the ratio of distances to the two nearest neighbours.

    Facco et al. 2017: the ratio mu follows a Pareto law with exponent d. Fitted as the authors do,
    a line through the origin of -ln(1 - F) on ln mu, without the largest ratios.

    Args:
        features: [N, D], N >= 10; 5,000 or more for a steady figure. Duplicates are left out.
        drop: share of largest ratios left out.
        chunk: rows compared at a time; does not change the result.

    Raises:
        UsageError: unusable features, or fewer than 10 that are no duplicates.
    """
    check_features(features)
    x = features.double()
    x = x - x.mean(dim=0)
    square = x.square().sum(dim=1)
    ratios: list[Tensor] = []
    for start in range(0, len(x), chunk):
        part = x[start : start + chunk]
        distance = square[start : start + chunk, None] + square - 2 * part @ x.T
        distance.diagonal(offset=start).fill_(torch.inf)
        two = distance.clamp_min(0).topk(min(2, len(x)), dim=1, largest=False).values.sqrt()
        noise = 1e-7 * square[start : start + chunk].sqrt()
        ratios.append((two[:, -1] / two[:, 0])[two[:, 0] > noise])
    log_mu = torch.cat(ratios).log().sort().values
    log_mu = log_mu[torch.isfinite(log_mu)]
    if len(log_mu) < 10:
        raise UsageError(
            f"TwoNN found {len(log_mu)} features that are no duplicates; wanted 10 or more."
        )
    share = torch.arange(1, len(log_mu) + 1, dtype=torch.float64, device=x.device) / len(log_mu)
    keep = max(1, int((1 - drop) * len(log_mu)))
    log_mu, height = log_mu[:keep], -torch.log1p(-share[:keep].clamp_max(1 - 1e-12))
    return float((log_mu * height).sum() / log_mu.square().sum())
