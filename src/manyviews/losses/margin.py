"""Losses that ask for a margin between a sample's views and those of others."""

import torch
from torch import Tensor

from manyviews.losses.pairs import squared_distances
from manyviews.losses.precision import full_precision

_TINY = 1e-9
"""Below the root, whose slope at 0 has no limit."""


@full_precision
def drlim(z: Tensor, *, margin: float) -> Tensor:
    """Draw the views of a sample together, push others apart up to the margin.

    Half the mean of d^2 over pairs of one sample's views, plus half the mean of
    max(0, margin - d)^2 over pairs of views of different samples, d the Euclidean distance.

    Args:
        z: [B, 2, D] of this rank, of any length; all ranks' are compared.
        margin: m, a distance.

    Returns:
        Scalar. Under autocast float32.

    Source: Hadsell, Chopra, LeCun 2006 (DrLIM), equations 3 and 4; its sums are means here, so
    that neither kind of pair outweighs the other.
    """
    positive, negatives = squared_distances(z)
    short = (margin - (negatives + _TINY).sqrt()).clamp(min=0)
    return (positive.mean() + short.square().mean()) / 2


@full_precision
def semi_hard_triplet(z: Tensor, *, margin: float) -> Tensor:
    """A view is nearer to its partner than to one view of another sample, by a margin.

    The mean over views of max(0, margin + d(a, p)^2 - d(a, n)^2). n is the nearest of those that
    are farther than p (semi-hard); where none is, the farthest of all.

    Args:
        z: [B, 2, D] of this rank; n is sought in all ranks'.
        margin: of squared distances; those of unit vectors are at most 4.

    Returns:
        Scalar. Under autocast float32.

    Source: Schroff et al. 2015 (FaceNet), section 3.2; what is done where none is semi-hard, and
    the mean over all triplets: `triplet_semihard_loss` of TensorFlow.
    """
    positive, negatives = squared_distances(z)
    farther = negatives > positive[:, None]
    semi_hard = negatives.masked_fill(~farther, torch.inf).amin(dim=1)
    chosen = torch.where(farther.any(dim=1), semi_hard, negatives.amax(dim=1))
    return (margin + positive - chosen).clamp(min=0).mean()
