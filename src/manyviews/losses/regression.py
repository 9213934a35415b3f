"""Losses that predict one embedding from another."""

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.losses.precision import full_precision


@full_precision
def normalised_mse(prediction: Tensor, target: Tensor) -> Tensor:
    """Squared distance of the two once scaled to length 1: 2 - 2 cos, averaged over samples.

    Args:
        prediction: [B, D].
        target: [B, D]; no gradient flows to it.

    Returns:
        Scalar in [0, 4]; the mean over this rank's samples. Under autocast float32.

    Source: Grill et al. 2020 (BYOL), equation 2.
    """
    p, t = F.normalize(prediction, dim=-1), F.normalize(target.detach(), dim=-1)
    return (p - t).square().sum(dim=-1).mean()


@full_precision
def negative_cosine(prediction: Tensor, target: Tensor) -> Tensor:
    """The cosine between the two with the sign turned, averaged over samples.

    Args:
        prediction: [B, D].
        target: [B, D]; no gradient flows to it, without which SimSiam collapses.

    Returns:
        Scalar in [-1, 1]; the mean over this rank's samples. Under autocast float32.

    Source: Chen and He 2020 (SimSiam), equation 1.
    """
    return -F.cosine_similarity(prediction, target.detach(), dim=-1).mean()


@full_precision
def mean_distance(prediction: Tensor, target: Tensor) -> Tensor:
    """The Euclidean distance of the two, averaged over samples.

    Args:
        prediction: [B, D].
        target: [B, D]; no gradient flows to it.

    Returns:
        Scalar of 0 or more; the mean over this rank's samples. Under autocast float32.

    Source: Piergiovanni et al. 2020 (ELo), the distillation loss.
    """
    return torch.linalg.vector_norm(prediction - target.detach(), dim=-1).mean()
