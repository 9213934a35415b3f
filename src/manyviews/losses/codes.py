"""Discrete codes: how far choices are from even ones, and their prediction at hidden places."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core import comm
from manyviews.losses.precision import full_precision


@full_precision
def kl_to_uniform(logits: Tensor) -> Tensor:
    """Sum over an image's places of KL(softmax(logits) || uniform), averaged over images.

    Args:
        logits: [B, N, K].

    Returns:
        Scalar, at least 0 and at most N ln K; float32 (float64 if logits are) under autocast too.

    Source: Ramesh et al. 2021 (DALL-E), arXiv:2102.12092, equation 1 with an even prior.
    """
    log_p = logits.log_softmax(dim=-1)
    kl = (log_p.exp() * (log_p + math.log(logits.shape[-1]))).sum(dim=-1)
    return kl.sum(dim=1).mean()


@torch.no_grad()
@full_precision
def code_usage(p: Tensor) -> Tensor:
    """Entropy over ln K of how often each code is expected, p [K] of sum 1: in [0, 1]."""
    return -torch.xlogy(p, p).sum() / math.log(len(p))


@full_precision
def code_cross_entropy(logits: Tensor, codes: Tensor) -> Tensor:
    """Mean of -log softmax(logits)[code] over places of all images, which have as many each.

    Args:
        logits: [B, M, K] at the hidden places.
        codes: [B, M] int64.

    Returns:
        Scalar, float32 (float64 if logits are), even under autocast.

    Source: Bao et al. 2022 (BEiT), arXiv:2106.08254, equation 2.
    """
    return F.cross_entropy(logits.flatten(0, 1), codes.flatten())


@full_precision
def masked_code_cross_entropy(
    logits: Tensor, codes: Tensor, hidden: Tensor, *, smoothing: float = 0.0
) -> Tensor:
    """The mean over all hidden places of all images, which may hide differently many.

    Of a place: (1 - smoothing) * -log p[code] + smoothing * the mean over codes k of -log p[k],
    with p = softmax(logits).

    Args:
        logits: [B, N, K].
        codes: [B, N] int64.
        hidden: [B, N] bool.
        smoothing: in [0, 1).

    Returns:
        Scalar, float32 (float64 if logits are), even under autocast. Its mean over ranks is that
        over all their hidden places.

    Source: Li et al. 2023 (MAGE), equation 1; LTH14/mage models_mage.py.
    """
    log_p = logits.log_softmax(dim=-1)
    own = log_p.gather(2, codes[..., None]).squeeze(2)
    each = -(1 - smoothing) * own - smoothing * log_p.mean(dim=-1)
    counted = hidden.to(each.dtype)
    return (each * counted).sum() / comm.mean(counted.sum())
