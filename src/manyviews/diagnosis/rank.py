"""How many directions of feature space are in use, as one number."""

import torch
from torch import Tensor

from manyviews.diagnosis.spectrum import singular_values


def rankme(features: Tensor, *, eps: float = 1e-7) -> float:
    """RankMe: the exponential of the entropy of the normalised, uncentred singular values.

    Garrido et al. 2023 (arXiv:2210.02885), equations 1 and 2: p = sigma / sum(sigma) + eps.
    Compare only runs of one method and width. In float64, as eps drowns in float32 noise.

    Args:
        features: [N, D]; the authors use 25,600 rows.
        eps: added to every share.

    Returns:
        1 to min(N, D), slightly more at the top because of eps; 0 where all features are 0.

    Raises:
        UsageError: not a non-empty [N, D], or NaN or infinite features.
    """
    return entropy_rank(singular_values(features, centred=False), eps=eps)


def effective_rank(features: Tensor, *, centred: bool = True) -> float:
    """Roy and Vetterli's effective rank (2007): as RankMe without eps, here of centred features.

    Args:
        features: [N, D].
        centred: subtract the mean row first, which a few large common directions otherwise hide
            behind.

    Returns:
        1 to min(N, D); 0 where all rows are equal.

    Raises:
        UsageError: not a non-empty [N, D], or NaN or infinite features.
    """
    return entropy_rank(singular_values(features, centred=centred))


def participation_ratio(features: Tensor, *, centred: bool = True) -> float:
    """(sum of eigenvalues)^2 / sum of their squares, of the covariance: the head of the spectrum.

    Args:
        features: [N, D].
        centred: subtract the mean row first.

    Returns:
        1 to min(N, D); 0 where all rows are equal.

    Raises:
        UsageError: not a non-empty [N, D], or NaN or infinite features.
    """
    values = singular_values(features, centred=centred).square()
    total = float(values.sum())
    return total**2 / float(values.square().sum()) if total > 0 else 0.0


def entropy_rank(values: Tensor, *, eps: float = 0.0) -> float:
    """The exponential of the entropy of values / sum(values) + eps; 0 where all of them are 0."""
    total = values.sum()
    if not float(total) > 0:
        return 0.0
    return float(torch.special.entr(values / total + eps).sum().exp())
