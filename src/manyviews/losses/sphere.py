"""Alignment and uniformity on the unit sphere."""

import torch
from torch import Tensor

from manyviews.core import comm
from manyviews.losses.pairs import squared
from manyviews.losses.precision import full_precision


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
