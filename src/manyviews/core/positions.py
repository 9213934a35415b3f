"""Fixed two-dimensional sine-cosine positions, shared by encoders and decoders."""

import torch
from torch import Tensor

from manyviews.core import UsageError


def sincos(dim: int, grid: tuple[int, int]) -> Tensor:
    """Fixed positions of a grid of tokens, row by row.

    The first half of the channels encodes the column and the second half the row; the authors'
    names suggest the reverse, but weights trained with their tables need this order. Each half is
    all sines, then all cosines, of geometrically spaced frequencies 10000^(-i / (dim / 4)).

    Args:
        dim: D, a multiple of 4.
        grid: rows, columns.

    Returns:
        [rows * columns, D] float32, computed in float64.

    Raises:
        UsageError: D is not a multiple of 4.

    Source: facebookresearch/mae util/pos_embed.py.
    """
    if dim % 4:
        raise UsageError(f"Sine-cosine positions need a width that 4 divides; {dim} is not.")
    rows, columns = (torch.arange(side, dtype=torch.float64) for side in grid)
    row, column = torch.meshgrid(rows, columns, indexing="ij")
    frequency = 10000.0 ** (-torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    angles = [place.reshape(-1, 1) * frequency for place in (column, row)]
    return torch.cat([part for a in angles for part in (a.sin(), a.cos())], dim=1).float()
