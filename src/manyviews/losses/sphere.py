"""Alignment and uniformity on the unit sphere."""

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core import UsageError, comm
from manyviews.losses.pairs import squared
from manyviews.losses.precision import full_precision

_EPSILON = 1e-8


@full_precision
def alignment(a: Tensor, b: Tensor, *, alpha: float = 2.0) -> Tensor:
    """Mean over samples of the distance of its two views, to the power of alpha.

    Args:
        a: [B, D] unit vectors, of one view.
        b: [B, D], of the other.
        alpha: the power.

    Returns:
        Scalar from 0 to 2^alpha. Under autocast float32.

    Source: Wang and Isola 2020, section 4.1; SsnL/align_uniform align_uniform/__init__.py.
    """
    return torch.linalg.vector_norm(a - b, dim=1).pow(alpha).mean()


@full_precision
def uniformity(x: Tensor, *, t: float = 2.0) -> Tensor:
    """Log of the mean over pairs of different samples of exp(-t * squared distance).

    Args:
        x: [B, D] unit vectors of this rank; all ranks' are compared.
        t: the larger, the nearer a pair has to be to count.

    Returns:
        Scalar, the same on every rank: 0 where all are equal, and at least -4t. Under autocast
        float32.

    Source: Wang and Isola 2020, section 4.1; SsnL/align_uniform align_uniform/__init__.py.
    """
    everyone = comm.gather(x)
    row = comm.share(torch.arange(len(everyone), device=x.device))
    kernel = (-t * squared(x, everyone)).exp().scatter(1, row[:, None], 0.0)
    pairs = len(everyone) * (len(everyone) - 1)
    return (comm.total(kernel.sum()) / pairs).log()


@full_precision
def koleo(x: Tensor) -> Tensor:
    """How near each sample has its nearest other one: mean of -log(distance + 1e-8).

    The Kozachenko-Leonenko estimate of the entropy with the sign turned, but for constants; made
    small it spreads samples evenly.

    Args:
        x: [B, D] of any length, brought to length 1; neighbours are sought among all ranks'.

    Returns:
        Scalar; the mean over this rank's rows. Under autocast float32.

    Raises:
        UsageError: there is one sample in all.

    Source: Sablayrolles et al. 2018, equation 4; Oquab et al. 2023 (DINOv2), section 4;
    facebookresearch/dinov2 dinov2/loss/koleo_loss.py, which looks at one rank's samples.
    """
    x = F.normalize(x, dim=1, eps=_EPSILON)
    everyone = comm.gather(x)
    if len(everyone) < 2:
        raise UsageError(
            "The nearest other image of a batch was wanted, and the batch has 1 image. "
            "Raise --data.batch-size."
        )
    row = comm.share(torch.arange(len(everyone), device=x.device))
    near = (x @ everyone.T).detach().scatter(1, row[:, None], -torch.inf).argmax(dim=1)
    # The addend inside keeps the gradient finite where two are the same.
    distance = torch.linalg.vector_norm(x - everyone[near] + _EPSILON, dim=1)
    return -(distance + _EPSILON).log().mean()
