"""A transformer block that attends over time and then over space: TimeSformer's."""

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn


class DividedBlock(Block):
    """Tokens [B, T * P, D] of T times and P places, time by time, or with one before all: the same.

    First each place attends over its times, by `temporal_norm1`, `temporal_attn` and
    `temporal_fc`, then each time over its places, then comes the MLP. A token before the others
    takes no part in the first; in the second it is there at each time, and the mean of what it
    becomes is kept. Bertasius et al. 2021, arXiv:2102.05095, figure 2 (T+S); names of parameters
    are those of facebookresearch/TimeSformer, timesformer/models/vit.py.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        mlp_ratio: float,
        qkv_bias: bool,
        times: int,
        places: int,
    ) -> None:
        """Build with timm's initial weights.

        Args:
            dim: D.
            num_heads: of both attentions.
            mlp_ratio: width of the MLP over D.
            qkv_bias: whether queries, keys and values have a bias.
            times: T.
            places: P.
        """
        super().__init__(dim, num_heads, mlp_ratio=mlp_ratio, qkv_bias=qkv_bias)
        self.times, self.places = times, places
        self.temporal_norm1 = type(self.norm1)(dim)
        self.temporal_attn = type(self.attn)(dim, num_heads, qkv_bias=qkv_bias)
        self.temporal_fc = nn.Linear(dim, dim)

    def start(self) -> None:
        """Let attention over time begin without an effect, as in all blocks but the first."""
        nn.init.zeros_(self.temporal_fc.weight)
        nn.init.zeros_(self.temporal_fc.bias)

    def forward(
        self,
        x: Tensor,
        attn_mask: Tensor | None = None,
        is_causal: bool = False,  # noqa: FBT001, FBT002, RUF100 - as timm's
    ) -> Tensor:
        """[B, N, D] to the same; there is no mask."""
        del attn_mask, is_causal
        before = x.shape[1] - self.times * self.places
        first, grid = x[:, :before], x[:, before:].unflatten(1, (self.times, -1))  # [B, T, P, D]
        b = len(grid)
        over_time = self.temporal_norm1(grid.transpose(1, 2).flatten(0, 1))
        change = self.temporal_fc(self.temporal_attn(over_time))
        grid = grid + change.unflatten(0, (b, -1)).transpose(1, 2)
        alone = first[:, None].expand(-1, self.times, -1, -1)
        over_space = self.attn(self.norm1(torch.cat((alone, grid), dim=2).flatten(0, 1)))
        change = over_space.unflatten(0, (b, self.times))
        first = first + change[:, :, :before].mean(dim=1)
        x = torch.cat((first, (grid + change[:, :, before:]).flatten(1, 2)), dim=1)
        return x + self.mlp(self.norm2(x))
