"""I-JEPA's predictor, also V-JEPA's: visible tokens in, what stands at other places out."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from manyviews.core import UsageError
from manyviews.core.positions import sincos, sincos3d


class Predictor(nn.Module):
    """A narrow transformer that is asked by place what it expects there.

    Attributes:
        mask_token: [A, 1, W] parameter, what asks at every wanted place, in A kinds of questions.
        predictor_pos_embed: [1, N, W] buffer, fixed sine-cosine positions.

    Source: Assran et al. 2023 (I-JEPA), section 3; facebookresearch/ijepa
    src/models/vision_transformer.py. Names as in its checkpoints. Bardes et al. 2024 (V-JEPA);
    facebookresearch/jepa src/models/predictor.py.
    """

    predictor_pos_embed: Tensor

    def __init__(
        self,
        dim: int,
        *,
        grid: Sequence[int],
        width: int,
        depth: int,
        heads: int,
        questions: int = 1,
    ) -> None:
        """Build it; grid as the encoder's, of rows and columns or of times, rows and columns.

        Raises:
            UsageError: a width that cannot be split.
        """
        from timm.models.vision_transformer import Block  # slow to import; most runs never need it

        if width % heads or (len(grid) == 2 and width % 4):
            parts = " and four parts of its positions" if len(grid) == 2 else ""
            raise UsageError(
                f"A predictor width of {width} cannot be split over {heads} heads{parts}. "
                "Change --method.width or --method.heads."
            )
        super().__init__()
        self.predictor_embed = nn.Linear(dim, width)
        self.mask_token = nn.Parameter(torch.empty(questions, 1, width))
        if len(grid) == 3:
            positions = sincos3d(width, (grid[0], grid[1], grid[2]))
        else:
            positions = sincos(width, (grid[0], grid[1]))
        self.register_buffer("predictor_pos_embed", positions[None])
        self.predictor_blocks = nn.ModuleList(
            Block(width, heads, mlp_ratio=4.0, qkv_bias=True) for _ in range(depth)
        )
        self.predictor_norm = nn.LayerNorm(width, eps=1e-6)
        self.predictor_proj = nn.Linear(width, dim)
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(
        self, tokens: Tensor, keep: Tensor, wanted: Tensor, present: Tensor, *, question: int = 0
    ) -> Tensor:
        """Predict blocks of places, each block by itself.

        Args:
            tokens: [B, K, D] encoded visible tokens.
            keep: [B, K] int64, their places.
            wanted: [B, M, T] int64, places of M blocks.
            present: [B, M, T] bool; the others only fill up, and nothing listens to them.
            question: which of the mask tokens asks.

        Returns:
            [B, M, T, D].
        """
        blocks, length = wanted.shape[1:]
        positions = self.predictor_pos_embed[0]
        x = self.predictor_embed(tokens) + positions[keep]
        asking = (self.mask_token[question] + positions[wanted.flatten(0, 1)]).to(x.dtype)
        x = torch.cat([x.repeat_interleave(blocks, 0), asking], dim=1)
        heard = torch.cat([present.new_ones(len(x), keep.shape[1]), present.flatten(0, 1)], dim=1)
        for block in self.predictor_blocks:
            x = block(x, attn_mask=heard[:, None, None])
        x = self.predictor_proj(self.predictor_norm(x[:, -length:]))
        return x.unflatten(0, (-1, blocks))
