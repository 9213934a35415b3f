"""A decoder of convolutions over the grid of patches, for many masks of one view."""

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from manyviews.core import UsageError


class GridDecoder(nn.Module):
    """Visible tokens back in place, zeros in the gaps, convolutions that spread them, values out.

    Each layer is a grouped convolution, a norm over channels without factor and offset, and GELU,
    with what went in added.

    Source: Baevski et al. 2023 (data2vec 2.0); cwx-worst-one/EAT models/base.py,
    Decoder2d, which has noise of 0.01 in the gaps.
    """

    def __init__(
        self, dim: int, *, grid: Sequence[int], depth: int, kernel: int, groups: int
    ) -> None:
        """Build it.

        Args:
            dim: D of the tokens that come in and of what goes out.
            grid: rows and columns of patches.
            depth: layers.
            kernel: side of a convolution in patches, an odd number.
            groups: of channels; fewer where they do not divide D.

        Raises:
            UsageError: a grid of other than rows and columns.
        """
        if len(grid) != 2:
            raise UsageError(
                f"Convolutions over patches want rows and columns of them, not a grid of "
                f"{tuple(grid)}. Take an encoder of images or spectrograms."
            )
        super().__init__()
        self.grid = tuple(grid)
        parts = math.gcd(groups, dim)
        self.layers = nn.ModuleList(
            nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=parts) for _ in range(depth)
        )
        self.out = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor, keep: Tensor) -> Tensor:
        """Visible tokens [B, K, D] at places keep [B, K] int64 -> all places [B, N, D]."""
        places = math.prod(self.grid)
        x = tokens.new_zeros(len(tokens), places, tokens.shape[2])
        x = x.scatter(1, keep[..., None].expand_as(tokens), tokens)
        x = x.transpose(1, 2).unflatten(2, self.grid)
        for layer in self.layers:
            made = layer(x).movedim(1, -1)
            x = x + F.gelu(F.layer_norm(made, made.shape[-1:])).movedim(-1, 1)
        return self.out(x.flatten(2).transpose(1, 2))
