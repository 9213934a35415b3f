"""How a table of learned positions is brought to another grid: every project has its own rule."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core import wide

Interpolation = Literal["timm", "dino", "dinov2", "mae"]
"""All are bicubic. "timm": with antialiasing. "mae": without. "dino": without, at the scale of a
grid larger by `OFFSET`. "dinov2": as "dino", but as "timm" for models with registers."""

OFFSET = 0.1
"""Places that DINO adds to each side of the new grid, against rounding; it shifts the samples."""


def resample(
    table: Tensor,
    grid: tuple[int, int],
    *,
    old: tuple[int, int],
    prefix: int,
    rule: Interpolation,
    registers: bool = False,
) -> Tensor:
    """Bring a position table [1, prefix + h * w, D] from the grid `old` = (h, w) to `grid`.

    Args:
        table: float; its rows are those of the prefix, then the grid's, row by row.
        grid: rows and columns wanted.
        old: rows and columns of the table.
        prefix: rows at the front that belong to no place and stay as they are.
        rule: see `Interpolation`.
        registers: the model has register tokens, which DINOv2's rule looks at.

    Returns:
        [1, prefix + grid[0] * grid[1], D], of the table's dtype, computed in float32 or wider.

    Source: facebookresearch/dino vision_transformer.py, facebookresearch/dinov2
    dinov2/models/vision_transformer.py and hub/backbones.py, `interpolate_pos_encoding`;
    facebookresearch/mae util/pos_embed.py; timm.layers.pos_embed.
    """
    if grid == old:
        return table
    shifted = rule == "dino" or (rule == "dinov2" and not registers)
    places = wide(table[:, prefix:]).unflatten(1, old).permute(0, 3, 1, 2)
    if shifted:
        scale = [(new + OFFSET) / was for new, was in zip(grid, old, strict=True)]
        places = F.interpolate(places, scale_factor=scale, mode="bicubic")
    else:
        places = F.interpolate(places, size=grid, mode="bicubic", antialias=rule != "mae")
    new = places.permute(0, 2, 3, 1).flatten(1, 2).to(table.dtype)
    return torch.cat([table[:, :prefix], new], dim=1)
