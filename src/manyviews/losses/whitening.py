"""A loss between views whose embeddings are whitened first, so that they cannot collapse."""

from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core import UsageError, comm
from manyviews.losses.precision import full_precision


@full_precision
def whitened_distance(
    z: Tensor, *, size: int, rounds: int = 1, shrinkage: float = 0.0, seed: int
) -> Tensor:
    """Squared distance of views of unit length whose sub-batches were whitened.

    Samples are put into sub-batches at random, all views alike. In each the embeddings of a view
    lose their mean and are multiplied by the inverse of the Cholesky factor of their covariance;
    then each is brought to length 1. The mean over samples, pairs of views and rounds.

    Args:
        z: [B, V, D] of this rank; the sub-batches are of the N samples of all ranks.
        size: samples of a sub-batch.
        rounds: times that all samples are put into sub-batches.
        seed: of these; the same on every rank.
        shrinkage: s of (1 - s) Cov + s I, which is what is factorised; Cov divides by size - 1.

    Returns:
        Scalar from 0 to 4, the same on every rank; NaN where a covariance has no Cholesky factor,
        so that a training skips the step. Under autocast float32.

    Raises:
        UsageError: sub-batches do not divide the N samples.

    Source: Ermolov et al. 2021 (W-MSE), equation 5 and section 3.1; htdt/self-supervised
    methods/w_mse.py, methods/whitening.py.
    """
    everyone = comm.gather(z)
    samples, views, dim = everyone.shape
    if samples % size:
        raise UsageError(
            f"Sub-batches of {size} do not divide a batch of {samples}. Set --data.batch-size "
            f"to a multiple of {size}, or --method.sub-batch to a divisor of {samples}."
        )
    generator = torch.Generator().manual_seed(seed)
    orders = torch.stack([torch.randperm(samples, generator=generator) for _ in range(rounds)])
    parts = (
        everyone[orders.to(z.device)].view(-1, size, views, dim).transpose(1, 2)
    )  # [.., V, S, D]
    white = F.normalize(_whitened(parts, shrinkage), dim=-1)
    pairs = [
        2 - 2 * (white[:, a] * white[:, b]).sum(dim=-1).mean()
        for a, b in combinations(range(views), 2)
    ]
    return torch.stack(pairs).mean()


def _whitened(x: Tensor, shrinkage: float) -> Tensor:
    """[..., S, D]: S rows each, to covariance I."""
    centred = x - x.mean(dim=-2, keepdim=True)
    covariance = centred.mT @ centred / (x.shape[-2] - 1)
    eye = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    factor, failed = torch.linalg.cholesky_ex((1 - shrinkage) * covariance + shrinkage * eye)
    factor = torch.where((failed > 0)[..., None, None], torch.nan, factor)
    return torch.linalg.solve_triangular(factor, centred.mT, upper=False).mT
