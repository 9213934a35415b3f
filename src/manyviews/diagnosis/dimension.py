"""Intrinsic dimension from the length of minimum spanning trees."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyviews.core import UsageError
from manyviews.diagnosis.spectrum import check_features

_LEAST = 16
"""Points in the smallest tree."""


def mst_dimension(
    features: Tensor, *, seed: int = 0, subsamples: int = 4, rows: int = 4096
) -> float:
    """Intrinsic dimension m, as the total length of a minimum spanning tree goes as n^((m - 1)/m).

    IdEst (arXiv:2606.03338), after Steele 1988: b is the slope of log length on log n over
    subsamples, m = 1 / (1 - b). Ours: the sizes n, n/2, n/4, ..., the length at each averaged over
    disjoint parts of one shuffle, so that every size sees every point. Underestimates high
    dimensions, as all such estimators do with few points.

    Args:
        features: [N, D]. A few thousand rows for a steady figure.
        seed: of the shuffle.
        subsamples: how many sizes, two or more.
        rows: most that are looked at; memory grows with its square (128 MiB at 4096).

    Returns:
        1 or more, inf where length grows as n; 0 where all rows are equal.

    Raises:
        UsageError: unusable features, or too few rows for so many sizes.
    """
    check_features(features)
    n = min(len(features), rows)
    smallest = n >> (subsamples - 1) if subsamples > 1 else 0
    if smallest < _LEAST:
        wanted = _LEAST << max(1, subsamples - 1)
        raise UsageError(
            f"The spanning-tree dimension has {n} rows for {subsamples} sizes; wanted 2 sizes or "
            f"more and {wanted} rows or more. Give more samples, or fewer subsamples."
        )
    order = np.random.default_rng(seed).permutation(len(features))[:n]
    points = features[torch.from_numpy(order).to(features.device)].cpu().double()
    distance = _distances(points)
    sizes = [n >> i for i in range(subsamples)]
    lengths = [_mean_length(distance, size) for size in sizes]
    if min(lengths) <= 0:
        return 0.0
    slope = float(np.polyfit(np.log(sizes), np.log(lengths), 1)[0])
    return 1 / (1 - slope) if slope < 1 else math.inf


def _distances(points: Tensor) -> NDArray[np.float64]:
    centred = points - points.mean(dim=0)
    square = centred.square().sum(dim=1)
    lengths = square[:, None] + square
    found = lengths - 2 * centred @ centred.T
    # What is below the rounding of float32 features is a duplicate.
    return torch.where(found > 1e-14 * lengths, found, 0.0).sqrt_().numpy()


def _mean_length(distance: NDArray[np.float64], size: int) -> float:
    starts = range(0, len(distance) - size + 1, size)
    parts = [distance[start : start + size, start : start + size] for start in starts]
    return float(np.mean([_length(part) for part in parts]))


def _length(distance: NDArray[np.float64]) -> float:
    """Prim's algorithm on a dense matrix: n steps over n candidates."""
    nearest = distance[0].copy()
    nearest[0] = np.inf
    total = 0.0
    for _ in range(len(distance) - 1):
        joins = int(nearest.argmin())
        total += float(nearest[joins])
        # Points of the tree stay at infinity: those of `nearest` are infinite already.
        inside = np.isinf(nearest)
        np.minimum(nearest, distance[joins], out=nearest)
        nearest[inside] = np.inf
        nearest[joins] = np.inf
    return total
