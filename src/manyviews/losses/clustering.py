"""Cross-entropy between what one view is assigned to and what other views predict."""

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core import comm
from manyviews.losses.precision import full_precision


@full_precision
def swapped_cross_entropy(scores: Tensor, target: Tensor, *, temperature: float) -> Tensor:
    """Every view predicts the target of every other view, never its own.

    The mean over samples and over all pairs (t, v), t != v, of
    -sum_k target[t, k] log softmax(scores[v] / temperature)[k]; a mean over this rank's samples.

    Args:
        scores: [B, V, K] of all views; the first T of them are the targets' own views.
        target: [B, T, K] probabilities, T <= V, 2 <= V; no gradient flows to them.
        temperature: of the prediction.

    Returns:
        Scalar, float32 (float64 if scores are), even under autocast.

    Source: Caron et al. 2020 (SwAV), equation 2 and section 3.3; Caron et al. 2021 (DINO),
    equation 3.
    """
    log_p = (scores / temperature).log_softmax(dim=-1)
    target = target.detach().to(log_p.dtype)
    pairs = -(log_p @ target.transpose(1, 2)).mean(dim=0)  # [V, T]
    own = torch.eye(*pairs.shape, dtype=pairs.dtype, device=pairs.device)
    return (pairs * (1 - own)).sum() / (target.shape[1] * (scores.shape[1] - 1))


@full_precision
def masked_cross_entropy(
    scores: Tensor, target: Tensor, hidden: Tensor, *, temperature: float
) -> Tensor:
    """Hidden tokens predict their own targets; every view weighs the same, whatever it hides.

    The mean over views of the mean over a view's hidden tokens of
    -sum_k target[k] log softmax(scores / temperature)[k]; a view that hides nothing adds 0.

    Args:
        scores: [M, K] of the hidden tokens of all views, in the order of `x[hidden]`.
        target: [M, K] probabilities; no gradient flows to them.
        hidden: [B, N] bool, M of them True.
        temperature: of the prediction.

    Returns:
        Scalar, float32 (float64 if scores are), even under autocast; the mean over this rank's
        views.

    Source: Zhou et al. 2022 (iBOT), equation 2; bytedance/ibot main_ibot.py (iBOTLoss), whose mean
    counts views that hide nothing too.
    """
    log_p = (scores / temperature).log_softmax(dim=-1)
    each = -(log_p * target.detach().to(log_p.dtype)).sum(dim=-1)
    weight = 1 / hidden.sum(dim=1, keepdim=True).clamp(min=1).to(each.dtype)
    return (each * weight.expand_as(hidden)[hidden]).sum() / len(hidden)


@full_precision
def shared_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Every view predicts the one target of its sample.

    Args:
        logits: [B, A, K].
        target: [B, K] probabilities; no gradient flows to them.

    Returns:
        Scalar: the mean over this rank's samples and over views of
        -sum_k target[k] log softmax(logits)[k]. Float32 (float64 if logits are), even under
        autocast.

    Source: Assran et al. 2022 (MSN), equation 1; facebookresearch/msn src/losses.py.
    """
    target = target.detach().to(logits.dtype)[:, None]
    return -(logits.log_softmax(dim=-1) * target).sum(dim=-1).mean()


@full_precision
def prototype_info_nce(
    query: Tensor,
    centroids: Tensor,
    concentration: Tensor,
    *,
    cluster: Tensor,
    negatives: Tensor,
) -> Tensor:
    """Find each query's cluster among those of the global batch and a set that all queries share.

    Args:
        query: [B, D] unit vectors of this rank.
        centroids: [K, D] unit vectors; no gradient flows to them.
        concentration: [K], what the similarity to each centroid is divided by.
        cluster: [B] int64 in [0, K); below 0 for a sample that has none and does not count.
        negatives: [R] int64, centroids of none of the batch's samples; below 0 for none.

    Returns:
        Scalar: averaged over ranks, the mean over samples that have a cluster of -log softmax of
        the sample's own among the N + R. 0 where none has one. A centroid that several samples of
        the batch share is there once for each.

    Source: Li et al. 2021 (PCL), equation 11; salesforce/PCL pcl/builder.py, for one process.
    """
    columns = comm.gather(cluster)
    own = comm.share(torch.arange(len(columns), device=columns.device))
    columns = torch.cat([columns, negatives])
    which = columns.clamp(min=0)
    logits = query @ centroids[which].T / concentration[which]
    logits = logits.masked_fill(columns < 0, torch.finfo(logits.dtype).min)
    target = torch.where(cluster < 0, -100, own)  # what cross_entropy leaves out of itself
    total = F.cross_entropy(logits, target, ignore_index=-100, reduction="sum")
    counted = comm.mean((cluster >= 0).sum().to(total.dtype))
    return total / counted.clamp(min=torch.finfo(total.dtype).eps)


@full_precision
def aggregation(scores: Tensor, close: Tensor) -> Tensor:
    """How little of what a sample finds among its nearest neighbours is in the close ones.

    Args:
        scores: [B, K] of each sample with its background neighbours, over the temperature.
        close: [B, K] bool, which of them are close neighbours too.

    Returns:
        Scalar; the mean over this rank's samples of -log(sum over the close of exp(score) / sum
        over all of exp(score) + 1e-7), so that a sample without any costs 16.1 and has no gradient.
        Float32 (float64 if scores are), even under autocast.

    Source: Zhuang et al. 2019, equation 4; neuroailab/LocalAggregation model/instance_model.py.
    """
    least = torch.finfo(scores.dtype).min  # its exponential is 0, and its gradient no NaN
    near = scores.masked_fill(~close, least).logsumexp(dim=1)
    share = near - scores.logsumexp(dim=1)
    return -torch.logaddexp(share, torch.full_like(share, 1e-7).log()).mean()
