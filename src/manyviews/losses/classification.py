"""Cross-entropy with classes that are known from how a view was made."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.losses.precision import full_precision


@full_precision
def classify(logits: Tensor, target: Tensor) -> Tensor:
    """The mean of -log softmax(logits)[target], over this rank's rows.

    Args:
        logits: [..., K].
        target: [...] int64 in [0, K).

    Returns:
        Scalar, float32 (float64 if logits are), even under autocast.
    """
    return F.cross_entropy(logits.flatten(0, -2), target.flatten())


@torch.no_grad()
@full_precision
def answer_std(logits: Tensor) -> Tensor:
    """Standard deviation across rows of each answer's probability, over that of a guess, averaged.

    0 where every row gets the same answer. Over this rank's rows.

    Args:
        logits: [..., K].

    Returns:
        Scalar, float32 (float64 if logits are), even under autocast.
    """
    shares = logits.flatten(0, -2).softmax(dim=-1)
    return shares.shape[-1] * shares.std(dim=0, correction=0).mean()


@full_precision
def yes_or_no(logits: Tensor, *, right: bool, counted: Tensor) -> Tensor:
    """The mean of -log sigmoid(logits), or of -log sigmoid(-logits) where the answer is no.

    Args:
        logits: [B] that it is so.
        right: whether it is.
        counted: [B] bool; the others cost nothing, and the mean is over all rows.

    Returns:
        Scalar, float32 (float64 if logits are), even under autocast.
    """
    return (F.softplus(-logits if right else logits) * counted).mean()


@full_precision
def soft_classify(logits: Tensor, index: Tensor, share: Tensor, *, factor: Tensor) -> Tensor:
    """Cross-entropy with targets that are shared among a few of many classes.

    Args:
        logits: [..., K].
        index: [..., n] int64 in [0, K), the classes.
        share: [..., n], how much each is; no gradient flows to it.
        factor: [...], how much each row counts.

    Returns:
        Scalar, float32 (float64 if logits are), even under autocast: the mean over this rank's rows
        of factor times -sum over n of share log softmax(logits)[index].
    """
    found = logits.gather(-1, index) - logits.logsumexp(dim=-1, keepdim=True)
    return -(factor * (share * found).sum(dim=-1)).mean()


@full_precision
def copied(scores: Tensor, classes: Tensor, target: Tensor, *, least: float) -> Tensor:
    """Cross-entropy of classes that are copied from where scores point to.

    The mean over this rank's rows of -log(least + p), where p is the share of softmax(scores) on
    those whose class is the target. Where none is of it, p is 0, and there is no gradient.

    Args:
        scores: [B, N, M].
        classes: [B, M] int64, of what is pointed to.
        target: [B, N] int64.
        least: added to each share, so that the logarithm is finite.

    Returns:
        Scalar, float32 (float64 if scores are), even under autocast.

    Source: Vondrick et al. 2018, equations 1 and 2.
    """
    total = scores.logsumexp(dim=-1, keepdim=True)
    other = classes[:, None] != target[..., None]
    found = torch.cat([scores.masked_fill(other, -torch.inf), total + math.log(least)], dim=-1)
    return (total[..., 0] - found.logsumexp(dim=-1)).mean()
