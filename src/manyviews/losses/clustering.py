"""Cross-entropy between what one view is assigned to and what other views predict."""

import torch
from torch import Tensor

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
