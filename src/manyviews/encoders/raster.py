"""A transformer over an image's pixels, each a colour of a palette, that only looks back."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from manyviews.core import Encoder, Features, Hide, Unsupported
from manyviews.encoders.blocks import check_blocks, heads_for, through
from manyviews.encoders.maps import refuse_tokens
from manyviews.encoders.settings import RasterConfig

_ROWS = 1 << 14
"""Pixels that are compared with the palette at a time."""
_EPS = 1e-5


class Raster(Encoder):
    """Pixels to colours, row by row; at each place what stands for those before it, and no other.

    The first place is given a learned vector, each other the vector of the colour before it; so
    the token of a place knows nothing of its own colour, which can be learned from it. Nothing has
    a bias, and norms take no mean away. `pooled` is the mean of the tokens after the final norm.

    Attributes:
        colours: [K, C] buffer, red, green and blue in [0, 1]; random until `adopt`.
        adopted: scalar buffer, 1 where they are of data, 0 before.
        words: a vector of each colour.
        start: [D] parameter.
        positions: [N, D] parameter.

    Source: Chen et al. 2020 (iGPT), sections 2.2 and 3; openai/image-gpt src/model.py.
    """

    colours: Tensor
    adopted: Tensor

    def __init__(self, config: RasterConfig) -> None:
        """Build with random weights.

        Raises:
            UsageError: a width that cannot be split.
        """
        super().__init__()
        width, heads = config.width, heads_for(config.width, config.heads)
        self.input, self.dim = config.input, width
        self.grid, self.patch = (config.input.side,) * 2, (1, 1)
        self.register_buffer("colours", torch.rand(config.colours, config.input.channels))
        self.register_buffer("adopted", torch.zeros(()))  # a number, as all weights in files are
        self.words = nn.Embedding(config.colours, width)
        self.start = nn.Parameter(torch.randn(width) * 0.02)
        self.positions = nn.Parameter(torch.randn(self.num_tokens, width) * 0.01)
        self.blocks = nn.ModuleList(
            _Block(width, heads, depth=config.depth) for _ in range(config.depth)
        )
        self.norm = nn.RMSNorm(width, eps=_EPS)
        nn.init.normal_(self.words.weight, std=0.02)

    @torch.no_grad()
    def adopt(self, colours: Tensor) -> None:
        """Take a palette [K, C] of pixels in [0, 1]."""
        self.colours.copy_(colours)
        self.adopted.copy_(torch.ones_like(self.adopted))

    @torch.no_grad()
    def codes(self, x: Tensor) -> Tensor:
        """Images [B, C, S, S] to the nearest colour of each pixel, [B, N] int64."""
        pixels = self.input.restore(x).flatten(2).transpose(1, 2)
        nearest = [
            torch.cdist(
                rows, self.colours.to(rows), compute_mode="donot_use_mm_for_euclid_dist"
            ).argmin(dim=1)
            for rows in pixels.flatten(0, 1).split(_ROWS)
        ]
        return torch.cat(nearest).view(len(x), -1)

    def by_depth(self) -> Sequence[Sequence[nn.Parameter]]:
        """Vectors and positions; then each block."""
        stem = [*self.words.parameters(), self.start, self.positions]
        return [stem, *(list(block.parameters()) for block in self.blocks)]

    def forward(
        self,
        x: Tensor,
        *,
        keep: Tensor | None = None,
        hide: Hide | None = None,
        blocks: int = 0,
        tokens: bool = True,
    ) -> Features:
        """Images, or codes [B, N] int64, to features; see `Encoder`.

        Raises:
            Unsupported: keep or hide was asked for, images of another size, or more blocks than
                there are.
        """
        del tokens
        refuse_tokens(keep, hide, 0, name="The encoder raster", of="images")
        check_blocks(blocks, len(self.blocks), of="an encoder that")
        before = self.words(x if x.ndim == 2 else self.codes(self._checked(x)))[:, :-1]
        start = self.start.expand(len(before), 1, -1)
        sequence = torch.cat([start, before], dim=1) + self.positions
        sequence, hidden = through(self.blocks, sequence, last=blocks)
        sequence = self.norm(sequence)
        return Features(sequence.mean(dim=1), sequence, hidden)

    def _checked(self, x: Tensor) -> Tensor:
        if tuple(x.shape[1:]) != self.input.shape:
            raise Unsupported(
                f"The encoder raster takes images of {self.input.shape}, and these are of "
                f"{tuple(x.shape[1:])}. Leave out sizes of views."
            )
        return x


class _Block(nn.Module):
    """Attention to oneself and those before, then two layers, each behind a norm and added."""

    def __init__(self, width: int, heads: int, *, depth: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.RMSNorm(width, eps=_EPS), nn.RMSNorm(width, eps=_EPS)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width, bias=False)
        self.fc1 = nn.Linear(width, 4 * width, bias=False)
        self.fc2 = nn.Linear(4 * width, width, bias=False)
        nn.init.normal_(self.qkv.weight, std=1 / math.sqrt(width))
        nn.init.normal_(self.proj.weight, std=1 / math.sqrt(width * depth))
        for layer in (self.fc1, self.fc2):
            nn.init.normal_(layer.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        split = self.qkv(self.norm1(x)).unflatten(2, (3, self.heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.proj(seen.transpose(1, 2).flatten(2))
        h = self.fc1(self.norm2(x))
        return x + self.fc2(h * torch.sigmoid(1.702 * h))
