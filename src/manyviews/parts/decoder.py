"""MAE's decoder: visible tokens back in place, mask tokens in the gaps, values out."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from manyviews.core import UsageError
from manyviews.core.positions import fixed
from manyviews.parts.masking import take
from manyviews.parts.windows import WindowBlock

Attention = Literal["global", "local"]

_WINDOW, _SHIFT = (4, 4), (2, 0)
"""Audio-MAE's, of times and bands."""


def check_width(width: int, heads: int) -> None:
    """Refuse a decoder's width that attention or positions cannot split.

    Raises:
        UsageError: heads or four do not divide it.
    """
    if width % 4 or width % heads:
        raise UsageError(
            f"A decoder width of {width} cannot be split over {heads} heads and four parts of "
            "its positions. Change --method.width or --method.heads."
        )


class Decoder(nn.Module):
    """A small transformer that predicts every patch from the visible ones.

    Attributes:
        mask_token: [1, 1, W] parameter, what stands at every hidden place.
        decoder_pos_embed: [1, 1 + N, W] buffer, fixed sine-cosine positions (`positions.fixed`);
            zeros for the class token.

    Source: He et al. 2022 (MAE), section 3; facebookresearch/mae models_mae.py. Names as in its
    checkpoints. With local attention Audio-MAE's (Huang et al. 2022, section 3.3;
    facebookresearch/AudioMAE models_mae.py): a token sees its window of 4 x 4, every second block's
    windows begin half a window later in time, and there is no class token.
    """

    decoder_pos_embed: Tensor

    def __init__(
        self,
        dim: int,
        *,
        grid: Sequence[int],
        width: int,
        depth: int,
        heads: int,
        out: int,
        attention: Attention = "global",
    ) -> None:
        """Build it.

        Args:
            dim: D of the encoder's tokens.
            grid: rows, columns of patches, or times, rows, columns; N is their product.
            width: W of the decoder's tokens, a multiple of 4 and of heads.
            depth: blocks.
            heads: of attention.
            out: values to predict for each patch.
            attention: of all tokens to all, or within windows of rows and columns.

        Raises:
            UsageError: a width that cannot be split, or a grid.
        """
        from timm.models.vision_transformer import Block  # slow to import; most runs never need it

        check_width(width, heads)
        super().__init__()
        self.decoder_embed = nn.Linear(dim, width)
        self.mask_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        table = torch.cat([torch.zeros(1, width), fixed(width, grid)])
        self.register_buffer("decoder_pos_embed", table[None])
        self.local = attention == "local"
        blocks: list[nn.Module] = (
            _windows(grid, width=width, depth=depth, heads=heads)
            if self.local
            else [Block(width, heads, mlp_ratio=4.0, qkv_bias=True) for _ in range(depth)]
        )
        self.decoder_blocks = nn.Sequential(*blocks)
        self.decoder_norm = nn.LayerNorm(width, eps=1e-6)
        self.decoder_pred = nn.Linear(width, out)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(
        self,
        tokens: Tensor,
        keep: Tensor,
        *,
        class_token: Tensor | None,
        wanted: Tensor | None = None,
    ) -> Tensor:
        """Predict patches.

        Args:
            tokens: [B, K, D] encoded visible tokens.
            keep: [B, K] int64, their places.
            class_token: [B, D] encoded, or None if the encoder has none.
            wanted: [B, M] int64, the places to predict; None for all. The last block then works
                for these alone.

        Returns:
            [B, M, out], or [B, N, out].
        """
        x = self.decoder_embed(tokens)
        positions = self.decoder_pos_embed
        places = positions.shape[1] - 1
        x = (
            self.mask_token.to(x.dtype)
            .expand(len(x), places, -1)
            .scatter(1, keep[..., None].expand_as(x), x)
        )
        x = x + positions[:, 1:]
        if class_token is not None and not self.local:
            first = self.decoder_embed(class_token)[:, None] + positions[:, :1]
            x = torch.cat([first, x], dim=1)
        if self.local:
            x = self.decoder_blocks(x)
            x = x if wanted is None else take(x, wanted)
        elif wanted is None:
            x = self.decoder_blocks(x)[:, -places:]
        else:
            *blocks, last = self.decoder_blocks
            for block in blocks:
                x = block(x)
            x = _only(last, x, wanted + x.shape[1] - places)
        return self.decoder_pred(self.decoder_norm(x))


def _windows(grid: Sequence[int], *, width: int, depth: int, heads: int) -> list[nn.Module]:
    """Blocks of attention within windows, as large as the grid where that is smaller."""
    if len(grid) != 2 or any(n > most and n % most for n, most in zip(grid, _WINDOW, strict=True)):
        raise UsageError(
            f"Windows of {_WINDOW[0]} x {_WINDOW[1]} do not fill a grid of tokens of {tuple(grid)}."
            " Use --method.attention global."
        )
    rows, columns = grid
    window = (min(rows, _WINDOW[0]), min(columns, _WINDOW[1]))
    # Where one window has all rows there is nothing to shift.
    later = tuple(by if n > most else 0 for n, by, most in zip(grid, _SHIFT, window, strict=True))
    return [
        WindowBlock(
            width,
            heads,
            grid=(rows, columns),
            window=window,
            shift=(later[0], later[1]) if k % 2 else (0, 0),
        )
        for k in range(depth)
    ]


def _only(block: Any, x: Tensor, index: Tensor) -> Tensor:
    """Rows of `block(x)` [B, N, W] at index [B, M] int64 -> [B, M, W], without making the others.

    The block is timm's, built with biases and without anything optional.
    """
    layer, y = block.attn, block.norm1(x)
    width = y.shape[2]
    (weight, *rest), (bias, *offsets) = (p.split(width) for p in (layer.qkv.weight, layer.qkv.bias))
    seen = F.linear(y, torch.cat(rest), torch.cat(offsets)).unflatten(2, (2, layer.num_heads, -1))
    key, value = seen.permute(2, 0, 3, 1, 4).unbind(0)
    query = F.linear(take(y, index), weight, bias).unflatten(2, (layer.num_heads, -1))
    out = F.scaled_dot_product_attention(query.transpose(1, 2), key, value)
    x = take(x, index) + layer.proj(out.transpose(1, 2).flatten(2))
    return x + block.mlp(block.norm2(x))
