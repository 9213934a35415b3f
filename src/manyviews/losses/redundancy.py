"""Losses that decorrelate the dimensions of an embedding over the global batch.

Every rank computes the value of the whole batch; `comm` makes the average of the ranks' gradients
that of one process.

With more dimensions than samples the [D, D] matrices are never made: the sum of squares of A^T B is
that of products of [N, N] matrices, sum((A A^T) * (B B^T)), at N / D of the work and memory.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core import comm
from manyviews.losses.precision import full_precision

BATCH_NORM_EPSILON = 1e-5
"""Of the batch norm before Barlow Twins' correlation (facebookresearch/barlowtwins main.py)."""
VARIANCE_EPSILON = 1e-4
"""Added to the variance under VICReg's root (Bardes et al. 2022, section 4.1)."""


@full_precision
def barlow_twins(a: Tensor, b: Tensor, *, off_diagonal: float) -> Tensor:
    """Make the cross-correlation of two views' dimensions the identity matrix.

    sum_i (1 - C_ii)^2 + off_diagonal * sum_{i != j} C_ij^2 with C = A^T B / N, where the columns
    of A and B are standardised over the global batch of N (biased variance, epsilon 1e-5).

    Args:
        a: [B, D] of the first view.
        b: [B, D] of the second view.
        off_diagonal: lambda.

    Returns:
        Scalar, neither halved nor divided by D. Under autocast float32.

    Source: Zbontar et al. 2021 (Barlow Twins), equations 1 and 2; facebookresearch/barlowtwins
    main.py.
    """
    a, b = _standardised(a), _standardised(b)
    count, dim = len(comm.gather(a[:, :1].detach())), a.shape[1]
    if 2 * count * count < len(a) * dim:
        diagonal = comm.mean((a * b).mean(dim=0))
        a, b = comm.gather(a), comm.gather(b)
        squares = (_gram(a) * _gram(b)).sum() / count**2
    else:
        correlation = comm.mean(a.T @ b / len(a))
        diagonal, squares = correlation.diagonal(), correlation.square().sum()
    off = squares - diagonal.square().sum()
    return (1 - diagonal).square().sum() + off_diagonal * off


def _standardised(x: Tensor) -> Tensor:
    centred = x - comm.mean(x.mean(dim=0))
    variance = comm.mean(centred.square().mean(dim=0))
    return centred * (variance + BATCH_NORM_EPSILON).rsqrt()


@full_precision
def variance(z: Tensor) -> Tensor:
    """Push each dimension's standard deviation over the global batch above 1.

    mean_d max(0, 1 - sqrt(var_d + 1e-4)), var unbiased.

    Args:
        z: [B, D] of one view, not normalised.

    Returns:
        Scalar in [0, 1]. Under autocast float32.

    Source: Bardes et al. 2022 (VICReg), equations 1 and 2.
    """
    deviation = (comm.gather(z).var(dim=0) + VARIANCE_EPSILON).sqrt()
    return F.relu(1 - deviation).mean()


@full_precision
def covariance(z: Tensor) -> Tensor:
    """Push the covariances of different dimensions over the global batch to zero.

    sum_{i != j} Cov_ij^2 / D with Cov = Z^T Z / (N - 1), Z centred.

    Args:
        z: [B, D] of one view, not normalised.

    Returns:
        Scalar. Under autocast float32.

    Source: Bardes et al. 2022 (VICReg), equations 3 and 4.
    """
    z = comm.gather(z)
    z = z - z.mean(dim=0)
    products = _gram(z if len(z) < z.shape[1] else z.T)  # their squares have the same sum
    diagonal = z.square().sum(dim=0)
    return (products.square().sum() - diagonal.square().sum()) / (len(z) - 1) ** 2 / z.shape[1]


@full_precision
def invariance(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared difference of two views' embeddings, over this rank's samples and dimensions.

    Args:
        a: [B, D] of the first view.
        b: [B, D] of the second view.

    Returns:
        Scalar: the paper's equation 5 divided by D, as facebookresearch/vicreg main_vicreg.py
        computes it. Under autocast float32.

    Source: Bardes et al. 2022 (VICReg), equation 5.
    """
    return F.mse_loss(a, b)


@full_precision
def second_moment(z: Tensor) -> Tensor:
    """Mean of z z^T over the rows of all ranks: [B, D] -> [D, D]. Under autocast float32."""
    return comm.mean(z.T @ z / len(z))


@full_precision
def spread_along(z: Tensor, moment: Tensor) -> Tensor:
    """Mean of z^T C z: how far samples lie along the directions that others already take.

    Args:
        z: [B, D] unit vectors of this rank.
        moment: [D, D], C, the same on every rank.

    Returns:
        Scalar, the mean over this rank's rows. Under autocast float32.

    Source: Zhu et al. 2022 (TiCo), equation 5.
    """
    return (z @ moment * z).sum(dim=1).mean()


def _gram(x: Tensor) -> Tensor:
    """[N, D] -> [N, N], the products of all pairs of rows."""
    return _Gram.apply(x)  # pyright: ignore[reportReturnType]


class _Gram(torch.autograd.Function):
    """X X^T, whose gradient (G + G^T) X is one product; autograd alone makes two."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x @ x.T

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return (grads[0] + grads[0].T) @ x
