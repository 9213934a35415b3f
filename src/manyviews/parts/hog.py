"""Histograms of oriented gradients as targets of a prediction."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.losses.precision import full_precision


@torch.no_grad()
@full_precision
def hog(images: Tensor, *, cell: int, bins: int = 9) -> Tensor:
    """Histograms of gradient directions of square cells, each channel by itself.

    Gradients are Sobel's, the border mirrored. A pixel adds the length of its gradient to one of
    `bins` directions that share half a turn: opposite directions count as the same. Each histogram
    is scaled to length 1; of a cell without any gradient it is 0.

    Args:
        images: [B, C, H, W], H and W multiples of cell.
        cell: side in pixels.
        bins: directions.

    Returns:
        [B, C, bins, H / cell, W / cell] float32 (float64 of such images), not negative.

    Source: Wei et al. 2022 (MaskFeat), section 3.2; facebookresearch/SlowFast models/operators.py.
    """
    channels = images.shape[1]
    sobel = images.new_tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]])
    across, down = (s.expand(channels, 1, 3, 3) for s in (sobel, sobel.T))
    padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
    x, y = (F.conv2d(padded, weight, groups=channels) for weight in (across, down))
    # The authors' order of arguments: the angle is from the vertical.
    direction = (torch.atan2(x, y) / math.pi * bins).floor().long() % bins
    length = torch.stack([x, y]).norm(dim=0)
    votes = images.new_zeros(*x.shape[:2], bins, *x.shape[2:])
    votes.scatter_(2, direction[:, :, None], length[:, :, None])
    sums = F.avg_pool2d(votes.flatten(1, 2), cell) * cell**2
    return F.normalize(sums.unflatten(1, (channels, bins)), dim=2)


def hog_of_patches(images: Tensor, *, patch: int, cells: int, bins: int = 9) -> Tensor:
    """The histograms of each patch's cells, [B, C, H, W] -> [B, N, C * bins * cells * cells].

    In the order channel, direction, row and column of cells (facebookresearch/SlowFast
    models/masked.py); patches row by row.
    """
    found = hog(images, cell=patch // cells, bins=bins).flatten(1, 2)
    return F.unfold(found, kernel_size=cells, stride=cells).transpose(1, 2)
