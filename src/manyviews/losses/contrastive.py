"""Losses that tell a sample's other view from other samples."""

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core import comm
from manyviews.losses.precision import full_precision


@full_precision
def unit(x: Tensor) -> Tensor:
    """Scale x [..., D] to length 1 along D, in float32 even under autocast."""
    return F.normalize(x, dim=-1)


@full_precision
def nt_xent(z: Tensor, *, temperature: float) -> Tensor:
    """Find the other view of each sample among all views of the global batch but itself.

    The mean over the 2N anchors of -log(exp(s_pos / T) / sum over the 2N - 1 others of
    exp(s / T)). The same-view embeddings of other samples count as negatives too.

    Args:
        z: [B, 2, D] unit vectors of this rank; rank r holds samples rB to rB + B - 1.
        temperature: T.

    Returns:
        Scalar; the mean over this rank's anchors. Under autocast float32.

    Source: Chen et al. 2020 (SimCLR), equation 1 and algorithm 1. google-research/simclr
    objective.py adds the means of the two views, which is twice this.
    """
    anchors = z.transpose(0, 1).flatten(0, 1)  # view by view: [2B, D]
    others = comm.gather(z).transpose(0, 1).flatten(0, 1)  # [2N, D]
    samples = len(others) // 2
    row = comm.share(torch.arange(samples, device=z.device))
    itself = torch.cat([row, row + samples])
    positive = torch.cat([row + samples, row])
    logits = anchors @ others.T / temperature
    logits = logits.scatter(1, itself[:, None], -torch.inf)
    return F.cross_entropy(logits, positive)


@full_precision
def info_nce(query: Tensor, key: Tensor, negatives: Tensor, *, temperature: float) -> Tensor:
    """Find each query's key among it and a set of negatives that all queries share.

    The mean of -log(exp(q.k / T) / (exp(q.k / T) + sum over negatives n of exp(q.n / T))).

    Args:
        query: [B, D] unit vectors.
        key: [B, D] unit vectors; row i belongs to query i.
        negatives: [K, D] unit vectors.
        temperature: T.

    Returns:
        Scalar; the mean over this rank's queries. Under autocast float32.

    Source: He et al. 2020 (MoCo), equation 1.
    """
    positive = (query * key).sum(dim=1, keepdim=True)
    logits = torch.cat([positive, query @ negatives.T], dim=1) / temperature
    return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))
