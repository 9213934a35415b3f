"""Fixed sine-cosine positions, shared by encoders and decoders."""

import math
from collections.abc import Sequence

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


def sinusoid(dim: int, count: int) -> Tensor:
    """Fixed positions of tokens in a row, whatever grid they were: those of clips.

    Channel 2i is the sine and channel 2i + 1 the cosine of n 10000^(-2i / D).

    Args:
        dim: D, an even number.
        count: N.

    Returns:
        [N, D] float32, computed in float64.

    Source: Vaswani et al. 2017, section 3.5; MCG-NJU/VideoMAE modeling_finetune.py.
    """
    frequency = 10000.0 ** (-2 * torch.arange(dim // 2, dtype=torch.float64) / dim)
    angles = torch.arange(count, dtype=torch.float64)[:, None] * frequency
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1).float()


def sincos3d(dim: int, grid: tuple[int, int, int]) -> Tensor:
    """Fixed positions of tubelets by time, row and column, row by row.

    A third of the channels, ceil(D / 6) sines and as many cosines of frequencies
    10000^(-i / ceil(D / 6)), for each of the three; what is too much is cut off at the end.

    Args:
        dim: D.
        grid: times, rows, columns.

    Returns:
        [times * rows * columns, D] float32, computed in float64.

    Source: facebookresearch/jepa src/models/utils/pos_embs.py, uniform_power.
    """
    half = math.ceil(dim / 6)
    frequency = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    axes = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in grid), indexing="ij")
    angles = [place.reshape(-1, 1) * frequency for place in axes]
    return torch.cat([part for a in angles for part in (a.sin(), a.cos())], dim=1)[:, :dim].float()


def fixed(dim: int, grid: Sequence[int]) -> Tensor:
    """The table [N, D] that masked auto-encoders have for a grid of tokens, row by row.

    MAE's for the rows and columns of an image, VideoMAE's for the tubelets of a clip.

    Args:
        dim: D.
        grid: (rows, columns), or (times, rows, columns).

    Raises:
        UsageError: D cannot be split.
    """
    if len(grid) == 2:
        return sincos(dim, (grid[0], grid[1]))
    return sinusoid(dim, math.prod(grid))
