"""How two views of each sample compare with one another and with those of all other samples."""

import torch
from torch import Tensor

from manyviews.core import UsageError, comm


def several(count: int) -> None:
    """Refuse a global batch of one sample, which there is nothing to tell from.

    Args:
        count: samples of all ranks.

    Raises:
        UsageError: there is one.
    """
    if count < 2:
        raise UsageError(
            f"A contrastive loss tells a sample from others of its batch, and the batch has {count}"
            " sample. Raise --data.batch-size."
        )


def products(z: Tensor) -> tuple[Tensor, Tensor]:
    """Dot products of each view with its partner, and with both views of every other sample.

    Args:
        z: [B, 2, D] of this rank; rank r holds samples rB to rB + B - 1 of N.

    Returns:
        [2B] and [2B, 2N - 2]; the first view of each sample first, then the second.

    Raises:
        UsageError: N is 1.
    """
    anchors, everyone = _everyone(z)
    return _split(anchors @ everyone.T)


def squared_distances(z: Tensor) -> tuple[Tensor, Tensor]:
    """As `products`, of squared Euclidean distances; z need not have unit length."""
    anchors, everyone = _everyone(z)
    return _split(squared(anchors, everyone))


def squared(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances of the rows of [A, D] and [B, D]: [A, B], 0 or more."""
    lengths = a.square().sum(dim=1, keepdim=True) + b.square().sum(dim=1)
    return (lengths - 2 * a @ b.T).clamp(min=0)


def _everyone(z: Tensor) -> tuple[Tensor, Tensor]:
    """Views of this rank and of all, each view by view."""
    gathered = comm.gather(z)
    several(len(gathered))
    return _views(z), _views(gathered)


def _views(z: Tensor) -> Tensor:
    """[N, 2, D] -> [2N, D], view by view."""
    return z.transpose(0, 1).flatten(0, 1)


def _split(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """A view against all, [2B, 2N]: its partner's column, and those of other samples."""
    samples = matrix.shape[1] // 2
    row = comm.share(torch.arange(samples, device=matrix.device))
    partner = torch.cat([row + samples, row])
    columns = torch.arange(2 * samples, device=matrix.device) % samples
    others = columns != row.repeat(2)[:, None]
    positive = matrix.gather(1, partner[:, None])[:, 0]
    return positive, matrix[others].view(len(matrix), -1)
