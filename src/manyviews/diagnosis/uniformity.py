"""Whether views of an image agree and images spread out, on the unit sphere."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core import UsageError
from manyviews.diagnosis.spectrum import check_features, check_views


def alignment(a: Tensor, b: Tensor) -> float:
    """Mean squared distance of the normalised features of two views of each image.

    Wang and Isola 2020 (arXiv:2005.10242), alpha = 2.

    Args:
        a: [N, D], of one view.
        b: [N, D], of the other.

    Returns:
        0 (views agree) to 4 (opposite).

    Raises:
        UsageError: unusable features, or shapes that differ.
    """
    check_views(a, b)
    return float((unit(a) - unit(b)).square().sum(dim=1).mean())


def uniformity(features: Tensor, *, t: float = 2.0, chunk: int = 2048) -> float:
    """Log of the mean over pairs of exp(-t * squared distance) of normalised features.

    Wang and Isola 2020. Blind to dimensional collapse; compare within one method only.

    Args:
        features: [N, D], N >= 2; 2,000 rows or more for a steady figure.
        t: the reference uses 2.
        chunk: rows compared with all others at a time; does not change the result.

    Returns:
        0 (all equal) down to about -2 t (spread over a sphere of many dimensions).

    Raises:
        UsageError: unusable features, or a single row.
    """
    check_features(features)
    n = len(features)
    if n < 2:
        raise UsageError("Uniformity compares samples with one another; wanted 2 or more, got 1.")
    z = unit(features).double()
    total = torch.zeros((), dtype=torch.float64, device=z.device)
    for start in range(0, n, chunk):
        part = z[start : start + chunk]
        # |x - y|^2 = 2 - 2 x.y on the sphere
        kernel = (2 * t * (part @ z.T - 1)).exp()
        kernel.diagonal(offset=start).zero_()
        total += kernel.sum()
    return math.log(max(float(total), 1e-300) / (n * (n - 1)))


def feature_std(features: Tensor) -> float:
    """Mean over dimensions of the standard deviation of normalised features, times sqrt(D).

    Chen and He 2021 (SimSiam, arXiv:2011.10566), figure 2. 1 for features spread evenly in all
    directions, 0 for complete collapse; blind to dimensional collapse.

    Args:
        features: [N, D], N >= 2.

    Raises:
        UsageError: unusable features.
    """
    check_features(features)
    z = unit(features)
    return float(z.std(dim=0, correction=0).mean()) * math.sqrt(z.shape[1])


def mean_cosine(features: Tensor) -> float:
    """Mean cosine similarity over pairs of different rows, in [-1/(N-1), 1].

    Args:
        features: [N, D], N >= 2.

    Raises:
        UsageError: unusable features.
    """
    check_features(features)
    z = unit(features).double()
    n = len(z)
    squares = float(z.square().sum())
    return (float(z.sum(dim=0).square().sum()) - squares) / (n * (n - 1))


def unit(features: Tensor) -> Tensor:
    """[N, D] float32 of length 1; rows of zeros stay zeros."""
    return F.normalize(features.float(), dim=-1)
