"""Whitening of the embeddings of a whole data set."""

import torch
from torch import Tensor

from manyviews.core import UsageError, comm

_LEAST = 1e-6


@torch.no_grad()
def whitened(rows: Tensor, *, components: int) -> Tensor:
    """Rows along their directions of greatest variance, which becomes 1 along each.

    Directions with less than a millionth of the greatest variance are nothing but rounding, and
    become 0.

    Args:
        rows: [N, D]; those that hold NaN or infinity take no part and become NaN.
        components: P; of D or fewer.

    Returns:
        [N, min(P, D)] of the rows' type, the same on every rank if rows are.

    Raises:
        UsageError: fewer than two rows are finite.
    """
    finite = rows.sum(dim=1).isfinite()
    known = rows[finite].double()
    if len(known) < 2:
        raise UsageError(
            f"Whitening needs 2 or more finite embeddings and got {len(known)}. Lower --optim.lr."
        )
    known = known - known.mean(dim=0)
    variance, directions = torch.linalg.eigh(known.T @ known / len(known))
    variance, directions = variance.flip(0)[:components], directions.flip(1)[:, :components]
    kept = variance > _LEAST * variance[0]
    scale = torch.where(kept, variance.clamp(min=1e-300).rsqrt(), 0.0)
    out = rows.new_full((len(rows), len(scale)), torch.nan)
    out[finite] = (known @ directions * scale).to(rows.dtype)
    return comm.broadcast(out)
