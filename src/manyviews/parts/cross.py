"""CAPI's predictor: what is asked of each place listens to what is visible, and to nothing else."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from manyviews.core import UsageError

_EPS = 1e-5
_FAST, _SLOW = 7.0, 7e-4
"""Turns from one side of the image to the other, of the first and of the last frequency."""


class CrossPredictor(nn.Module):
    """Blocks of attention from wanted places to visible tokens, and an MLP.

    No wanted place sees another, so that a few of them are predicted as all would be. Where a
    place is, is told by turning queries and keys (rotary positions of rows and of columns, in
    [0, 1]); the class token stands in the middle of what is visible. There are no biases.

    Attributes:
        mask_token: [W] parameter, what asks at every wanted place.
        places: [N, 2] buffer, row and column of each.
        frequencies: [W / heads / 4] buffer, in radians from side to side.

    Source: Darcet et al. 2025 (CAPI), section 3.3; facebookresearch/capi model.py, Transformer and
    Rope.
    """

    places: Tensor
    frequencies: Tensor

    def __init__(
        self, dim: int, *, grid: Sequence[int], width: int, depth: int, heads: int
    ) -> None:
        """Build it for tokens of width dim on a grid of rows and columns.

        Raises:
            UsageError: a width that cannot be split.
        """
        if width % (4 * heads):
            raise UsageError(
                f"A predictor width of {width} cannot be split over {heads} heads and four parts "
                "of their positions. Change --method.width or --method.heads."
            )
        super().__init__()
        self.mask_token = nn.Parameter(torch.randn(width) * 0.02)
        self.blocks = nn.ModuleList(_Asking(dim, width, heads) for _ in range(depth))
        sides = [torch.linspace(0, 1, side) for side in grid]
        self.register_buffer("places", torch.cartesian_prod(*sides))
        falls = torch.linspace(0, 1, width // heads // 4)
        turns = _FAST * (_SLOW / _FAST) ** falls
        self.register_buffer("frequencies", 2 * math.pi * turns)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)

    def forward(
        self, tokens: Tensor, keep: Tensor, wanted: Tensor, *, class_token: Tensor | None
    ) -> Tensor:
        """Predict.

        Args:
            tokens: [B, K, D] encoded visible tokens.
            keep: [B, K] int64, their places.
            wanted: [B, M] int64, the places to predict.
            class_token: [B, D] encoded, or None if the encoder has none.

        Returns:
            [B, M, W], normed by their root mean square.
        """
        known = self.places[keep]
        if class_token is not None:
            middle = (known.amin(dim=1, keepdim=True) + known.amax(dim=1, keepdim=True)) / 2
            tokens = torch.cat([class_token[:, None], tokens], dim=1)
            known = torch.cat([middle, known], dim=1)
        asked, heard = self._angles(self.places[wanted]), self._angles(known)
        x = self.mask_token.to(tokens.dtype).expand(*wanted.shape, -1)
        for block in self.blocks:
            x = block(x, tokens, asked, heard)
        return F.rms_norm(x, x.shape[-1:], eps=_EPS)

    def _angles(self, places: Tensor) -> Tensor:
        """[B, M, 2] -> [B, 1, M, W / heads / 2]: those of rows, then those of columns."""
        return (places[..., None] * self.frequencies).flatten(2)[:, None]


class _Asking(nn.Module):
    """One block; a residual around each half."""

    def __init__(self, dim: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = (nn.RMSNorm(width, eps=_EPS) for _ in range(2))
        self.query = nn.Linear(width, width, bias=False)
        self.key, self.value = (nn.Linear(dim, width, bias=False) for _ in range(2))
        self.out = nn.Linear(width, width, bias=False)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width, bias=False),
            nn.GELU(),
            nn.Linear(4 * width, width, bias=False),
        )

    def forward(self, x: Tensor, tokens: Tensor, asked: Tensor, heard: Tensor) -> Tensor:
        """[B, M, W] that ask of [B, K, D], with the angles of both."""
        query, key, value = (
            made.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for made in (self.query(self.norm1(x)), self.key(tokens), self.value(tokens))
        )
        found = F.scaled_dot_product_attention(_turn(query, asked), _turn(key, heard), value)
        x = x + self.out(found.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))


def _turn(x: Tensor, angles: Tensor) -> Tensor:
    """Turn channels i and i + d / 2 of [B, heads, M, d] about each other by angle i."""
    one, two = x.chunk(2, dim=-1)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    return torch.cat([one * cos - two * sin, two * cos + one * sin], dim=-1)
