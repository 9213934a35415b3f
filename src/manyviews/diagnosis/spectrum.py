"""The singular values of features: how many directions they use, and how evenly."""

import torch
from torch import Tensor

from manyviews.core import UsageError

_ROWS = 4096


def singular_values(features: Tensor, *, centred: bool = True) -> Tensor:
    """Singular values of features, the largest first.

    Computed in float64 from the smaller Gram matrix; values below its rounding error are 0.

    Args:
        features: [N, D], any float type. With N < D at most N values are not 0, so take
            N >= 10 D for a figure that no longer depends on N.
        centred: subtract the mean row first.

    Returns:
        [min(N, D)] float64 on the CPU.

    Raises:
        UsageError: not a non-empty [N, D], or NaN or infinite features.
    """
    check_features(features)
    mean = _mean(features) if centred else features.new_zeros(features.shape[1]).double().cpu()
    if len(features) >= features.shape[1]:
        gram = torch.zeros(features.shape[1], features.shape[1], dtype=torch.float64)
        for part in features.split(_ROWS):
            rows = part.cpu().double() - mean
            gram.addmm_(rows.T, rows)
    else:
        rows = features.cpu().double() - mean
        gram = rows @ rows.T
    return from_gram(gram)


def from_gram(gram: Tensor, *, noise: float = torch.finfo(torch.float64).eps) -> Tensor:
    """Singular values of x, the largest first, from x^T x (or x x^T) [D, D] float64.

    Args:
        gram: symmetric.
        noise: relative rounding error with which it was computed; eigenvalues below D times that
            are taken for 0.
    """
    values = torch.linalg.eigvalsh(gram).flip(0).clamp_min(0)
    return torch.where(values > len(values) * noise * values[0], values, 0.0).sqrt()


def collapse_level(values: Tensor) -> float:
    """Area under the cumulative explained variance: 0.5 for an even spectrum, 1 for one direction.

    Li et al. 2022, "Understanding collapse in non-contrastive siamese representation learning".

    Args:
        values: [K] centred singular values.
    """
    explained = values.double().sort(descending=True).values.square()
    if not float(explained.sum()) > 0:
        return 1.0
    share = (explained / explained.sum()).cumsum(0)
    edges = torch.cat([share.new_zeros(1), share])
    return float(torch.trapezoid(edges) / len(share))


def alpha_req(values: Tensor, *, first: int = 5, last: int = 0) -> float:
    """Decay of the spectrum: alpha where the i-th eigenvalue goes as i^-alpha.

    Agrawal et al. 2022 (alpha-ReQ): least squares of log eigenvalue on log i. Near 1 is best
    within a family of runs; the value depends on the range fitted.

    Args:
        values: [K] centred singular values, the largest first; zeros are left out.
        first: first index fitted, counted from 1.
        last: last index fitted; 0 takes half of K.

    Raises:
        UsageError: fewer than two positive values in the range.
    """
    last = last or len(values) // 2
    eigenvalues = values.double()[first - 1 : last].square()
    index = torch.arange(len(eigenvalues), dtype=torch.float64) + first
    keep = eigenvalues > 0
    if int(keep.sum()) < 2:
        raise UsageError(
            f"alpha-ReQ has {int(keep.sum())} positive eigenvalues among numbers {first} to "
            f"{last}; wanted 2 or more. Give more rows, or a wider range."
        )
    x, y = index[keep].log(), eigenvalues[keep].log()
    x = x - x.mean()
    return -float((x * (y - y.mean())).sum() / x.square().sum())


def check_features(features: Tensor) -> None:
    """Refuse what has no spectrum.

    Raises:
        UsageError: not a non-empty [N, D], or NaN or infinite features.
    """
    if features.ndim != 2 or 0 in features.shape:
        raise UsageError(
            f"Features have shape {tuple(features.shape)}; wanted a non-empty [N, D]. "
            "Diagnose image-level features."
        )
    if not torch.isfinite(features).all():
        raise UsageError(
            "Features hold NaN or infinity: the encoder diverged. Diagnose an earlier checkpoint."
        )


def check_views(a: Tensor, b: Tensor) -> None:
    """Refuse features of two views that are not row for row of the same samples.

    Raises:
        UsageError: as `check_features`, or shapes that differ.
    """
    check_features(a)
    check_features(b)
    if a.shape != b.shape:
        raise UsageError(
            f"The two views' features have shapes {tuple(a.shape)} and {tuple(b.shape)}; wanted "
            "the same samples through the same encoder."
        )


def _mean(features: Tensor) -> Tensor:
    parts = [part.cpu().double().sum(dim=0) for part in features.split(_ROWS)]
    return torch.stack(parts).sum(dim=0) / len(features)
