"""Cross-entropy against cluster numbers that were assigned beforehand."""

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core import comm
from manyviews.losses.precision import full_precision

_NONE = -100
"""The number of no cluster: the one that torch's cross-entropy ignores of itself."""


@full_precision
def assigned_cross_entropy(scores: Tensor, target: Tensor, *, temperature: float) -> Tensor:
    """Every view of a sample predicts the sample's cluster; samples without one do not count.

    Args:
        scores: [B, V, K].
        target: [B] int64 in [0, K), or -100 for a sample without a cluster.
        temperature: of the prediction.

    Returns:
        Scalar: averaged over ranks, it is the mean over the assigned samples of all ranks and over
        views of -log softmax(scores / temperature)[target]. 0 where no sample is assigned.

    Source: Caron et al. 2020 (SwAV), appendix; facebookresearch/swav main_deepclusterv2.py.
    """
    assigned = comm.mean((target != _NONE).to(scores.dtype).sum())
    views = scores.shape[1]
    logits = (scores / temperature).flatten(0, 1)
    each = target.repeat_interleave(views)
    total = F.cross_entropy(logits, each, ignore_index=_NONE, reduction="sum")
    none = torch.finfo(total.dtype).eps  # less than one sample on one of very many ranks
    return total / (views * assigned).clamp(min=none)


@full_precision
def balanced_cross_entropy(scores: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """The same where samples count by a weight, such as the inverse of their cluster's size.

    Args:
        scores: [B, V, K] logits.
        target: [B] int64 in [0, K), or -100 for a sample without a cluster, whose loss is 0.
        weight: [B], of mean 1 over the data set.

    Returns:
        Scalar: the mean over this rank's samples, and over views, of
        -weight log softmax(scores)[target].

    Source: Caron et al. 2018 (DeepCluster), section 3.3: uniform sampling over clusters is the same
    as weighting by their sizes.
    """
    each = target[:, None].expand(scores.shape[:2])
    lost = F.cross_entropy(scores.transpose(1, 2), each, ignore_index=_NONE, reduction="none")
    return (lost * weight[:, None]).mean()
