"""Pairs that do not belong together."""

import torch
from torch import Tensor

from manyviews.core import comm


def of_another(x: Tensor) -> Tensor:
    """For each sample the row of the next one in the global batch; for the last the first's.

    Gradients reach the rows wherever they are. In a batch of one the row is its own.

    Args:
        x: [B, ...] of this rank.

    Returns:
        [B, ...].
    """
    every = comm.gather(x)
    own = comm.share(torch.arange(len(every), device=x.device))
    return every[(own + 1) % len(every)]
