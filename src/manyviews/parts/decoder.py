"""MAE's decoder: visible tokens back in place, mask tokens in the gaps, values out."""

import torch
from torch import Tensor, nn

from manyviews.positions import sincos


class Decoder(nn.Module):
    """A small transformer that predicts every patch from the visible ones.

    Attributes:
        mask_token: [1, 1, W] parameter, what stands at every hidden place.
        decoder_pos_embed: [1, 1 + N, W] buffer, fixed sine-cosine positions; zeros for the class
            token.

    Source: He et al. 2022 (MAE), section 3; facebookresearch/mae models_mae.py. Names as in its
    checkpoints.
    """

    decoder_pos_embed: Tensor

    def __init__(
        self, dim: int, *, grid: tuple[int, int], width: int, depth: int, heads: int, out: int
    ) -> None:
        """Build it.

        Args:
            dim: D of the encoder's tokens.
            grid: rows, columns of patches; N = rows * columns.
            width: W of the decoder's tokens, a multiple of 4 and of heads.
            depth: blocks.
            heads: of attention.
            out: values to predict for each patch.
        """
        from timm.models.vision_transformer import Block  # slow to import; most runs never need it

        super().__init__()
        self.decoder_embed = nn.Linear(dim, width)
        self.mask_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        table = torch.cat([torch.zeros(1, width), sincos(width, grid)])
        self.register_buffer("decoder_pos_embed", table[None])
        blocks = [Block(width, heads, mlp_ratio=4.0, qkv_bias=True) for _ in range(depth)]
        self.decoder_blocks = nn.Sequential(*blocks)
        self.decoder_norm = nn.LayerNorm(width, eps=1e-6)
        self.decoder_pred = nn.Linear(width, out)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor, keep: Tensor, *, class_token: Tensor | None) -> Tensor:
        """Predict all patches.

        Args:
            tokens: [B, K, D] encoded visible tokens.
            keep: [B, K] int64, their places.
            class_token: [B, D] encoded, or None if the encoder has none.

        Returns:
            [B, N, out].
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
        if class_token is not None:
            first = self.decoder_embed(class_token)[:, None] + positions[:, :1]
            x = torch.cat([first, x], dim=1)
        x = self.decoder_pred(self.decoder_norm(self.decoder_blocks(x)))
        return x[:, -places:]
