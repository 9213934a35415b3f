"""Which few patches of a grid are shown, drawn by the method where one view has many masks."""

import torch
from torch import Tensor

from manyviews.parts.counted import shuffles


def kept_blocks(
    index: Tensor,
    *,
    grid: tuple[int, int],
    share: float,
    extra: float,
    side: int,
    step: int,
    branch: int = 0,
) -> Tensor:
    """Squares around random places show, made up by single patches to the same number everywhere.

    As many squares as would show `share + extra` of the patches if they did not overlap; a square
    at the edge lies inside by as much as fits. What is too much of their patches is left out at
    random, what is too little comes from the others. A function of the sample and the step.

    Args:
        index: [B] int64, the samples.
        grid: rows and columns of patches.
        share: of the patches that show.
        extra: beyond it, for what overlaps.
        side: of a square, in patches.
        step: of the optimiser.
        branch: tells several draws of one step apart.

    Returns:
        [B, K] int64, ascending, K the share of all, at least 1.

    Source: Chen et al. 2024 (EAT), after Baevski et al. 2023 (data2vec 2.0);
    cwx-worst-one/EAT utils/data_utils.py, compute_block_mask_2d.
    """
    rows, columns = grid
    places = rows * columns
    squares = max(1, int(places * (share + extra) / side**2))
    drawn = shuffles(index, count=squares + places, step=step, branch=branch)
    centre, order = drawn[:, :squares] % places, drawn[:, squares:]
    around = torch.arange(side, device=index.device) - side // 2
    row = (centre[..., None] // columns + around).clamp(0, rows - 1)
    column = (centre[..., None] % columns + around).clamp(0, columns - 1)
    inside = (row[..., :, None] * columns + column[..., None, :]).flatten(1)
    painted = torch.zeros_like(order).scatter(1, inside, 1)
    first = (painted * 2**62 + order).argsort(dim=1, descending=True)
    return first[:, : max(1, int(places * share + 1e-9))].sort(dim=1).values
