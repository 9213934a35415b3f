"""Losses that ask for a margin between a sample's views and those of others."""

import torch
from torch import Tensor

from manyviews.core import comm
from manyviews.losses.pairs import squared, squared_distances
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


@full_precision
def time_contrastive(
    z: Tensor, time: Tensor, *, margin: float, near: float, far: float, others: bool
) -> Tensor:
    """Views of one time are nearer to one another than to one of another time, by a margin.

    The mean over pairs (a, p) of views of a sample that are at most `near` apart in time of
    max(0, margin + d(a, p)^2 - d(a, n)^2). n is the nearest negative of those that are farther
    than p (semi-hard); where none is, the farthest of all. Pairs without a negative cost nothing.

    Args:
        z: [B, V, D] of this rank, of any length; n is sought in all ranks'.
        time: [B, V] of each view, in its sample's seconds.
        margin: of squared distances.
        near: seconds.
        far: views of the same sample that are farther apart than so many seconds are negatives.
        others: all views of other samples are negatives as well.

    Returns:
        Scalar; the mean over ranks is that over all pairs. Under autocast float32.

    Source: Sermanet et al. 2018 (TCN), equation 1 and section 3.1; tensorflow/models research/tcn
    estimators/svtcn_loss.py, and metric_learning's `triplet_semihard_loss` of TensorFlow.
    """
    views = z.shape[1]
    anchors, everyone = z.flatten(0, 1), comm.gather(z).flatten(0, 1)
    whose = torch.arange(len(everyone), device=z.device) // views
    own = comm.share(whose[::views]).repeat_interleave(views)[:, None] == whose
    apart = (time.flatten()[:, None] - comm.gather(time).flatten()).abs()
    negative = torch.where(own, apart > far, torch.full_like(own, others))
    distance = squared(anchors, everyone)
    farthest = distance.masked_fill(~negative, -torch.inf).amax(dim=1)
    losses: list[Tensor] = []
    paired: list[Tensor] = []
    rows = torch.arange(len(anchors), device=z.device)
    first = own.to(torch.uint8).argmax(dim=1)  # the column of the sample's first view
    for view in range(views):
        positive, gap = distance[rows, first + view], apart[rows, first + view]
        farther = negative & (distance > positive[:, None])
        semi_hard = distance.masked_fill(~farther, torch.inf).amin(dim=1)
        chosen = torch.where(farther.any(dim=1), semi_hard, farthest)
        losses.append((margin + positive - chosen).clamp(min=0))
        paired.append((gap <= near) & (rows % views != view))
    pairs = torch.stack(paired)
    total = torch.where(pairs & negative.any(dim=1), torch.stack(losses), 0.0).sum()
    counted = comm.mean(pairs.sum().to(total.dtype))
    return total / counted.clamp(min=torch.finfo(total.dtype).eps)


@full_precision
def together(a: Tensor, b: Tensor) -> Tensor:
    """Draw the rows of pairs together: the mean of d^2, d the Euclidean distance.

    Args:
        a: [B, D].
        b: [B, D]; row i belongs to row i of a.

    Returns:
        Scalar, the mean over this rank's pairs. Under autocast float32.

    Source: Hadsell, Chopra, LeCun 2006 (DrLIM), equation 4, for pairs that belong together.
    """
    return (a - b).square().sum(dim=1).mean()


@full_precision
def apart(a: Tensor, b: Tensor, *, margin: float, counted: Tensor | None = None) -> Tensor:
    """Push the rows of pairs apart up to the margin: the mean of max(0, margin - d)^2.

    Args:
        a: [B, D].
        b: [B, D].
        margin: m, a distance.
        counted: [B] bool, pairs that are to be pushed; the others count as far enough. None: all.

    Returns:
        Scalar, the mean over this rank's pairs. Under autocast float32.

    Source: Hadsell, Chopra, LeCun 2006 (DrLIM), equation 4, for pairs that do not belong together.
    """
    distance = ((a - b).square().sum(dim=1) + _TINY).sqrt()
    short = (margin - distance).clamp(min=0).square()
    return (short if counted is None else short * counted).mean()
