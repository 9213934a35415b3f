"""Attention within windows of a grid of tokens, which are shifted from block to block."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_HIDDEN = 384
"""Of the network that makes a bias of the distance of two tokens."""
_SHARPEST = 0.01
_ELSEWHERE = -100.0
"""Added where a shift has brought tokens together that are not neighbours."""


class WindowBlock(nn.Module):
    """A transformer's block whose tokens see those of their own window alone, [B, N, W].

    Attention by cosine over a learnt temperature, a bias that a small network makes of the
    logarithms of distances, and norms behind either half rather than before. Liu et al. 2022 (Swin
    v2), arXiv:2111.09883, as facebookresearch/AudioMAE has it, timm_patch/swin_transformer.py,
    without the dropout in the small network, so that the same batch gives the same loss. Names of
    parameters are theirs.
    """

    distances: Tensor
    apart: Tensor

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        grid: tuple[int, int],
        window: tuple[int, int],
        shift: tuple[int, int] = (0, 0),
    ) -> None:
        """Build it.

        Args:
            width: W, a multiple of heads.
            heads: of attention.
            grid: rows and columns of tokens, a multiple of the window's.
            window: rows and columns of it.
            shift: rows and columns by which windows begin later than at the corner, around the
                grid's end.
        """
        super().__init__()
        self.grid, self.window, self.shift = grid, window, shift
        self.attn = _Attention(width, heads)
        self.norm1, self.norm2 = (nn.LayerNorm(width, eps=1e-6) for _ in range(2))
        self.mlp = _Between(width, 4 * width, width, nn.GELU())
        self.register_buffer("distances", _distances(window), persistent=False)
        self.register_buffer("apart", self._apart(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, W], row by row, to the same."""
        by = (-self.shift[0], -self.shift[1])
        shifted = x.unflatten(1, self.grid).roll(by, dims=(1, 2))
        windows = self._split(shifted)
        seen = self.attn(windows, self.distances, self.apart.to(x.dtype))
        back = self._join(seen).roll(self.shift, dims=(1, 2)).flatten(1, 2)
        x = x + self.norm1(back)
        return x + self.norm2(self.mlp(x))

    def _split(self, x: Tensor) -> Tensor:
        """[B, R, C, W] -> [B, windows, tokens, W]."""
        (rows, columns), (high, wide) = self.grid, self.window
        cells = x.unflatten(2, (columns // wide, wide)).unflatten(1, (rows // high, high))
        return cells.transpose(2, 3).flatten(3, 4).flatten(1, 2)

    def _join(self, x: Tensor) -> Tensor:
        """The inverse."""
        (rows, columns), (high, wide) = self.grid, self.window
        cells = x.unflatten(2, self.window).unflatten(1, (rows // high, columns // wide))
        return cells.transpose(2, 3).flatten(3, 4).flatten(1, 2)

    def _apart(self) -> Tensor:
        """[windows, 1, tokens, tokens]: what is added to scores."""
        side = torch.zeros(1, *self.grid, 1)
        for axis, (count, by) in enumerate(zip(self.grid, self.shift, strict=True), start=1):
            behind = torch.arange(count) >= count - by
            shape = [1, 1, 1, 1]
            shape[axis] = count
            side = side + (axis * behind).view(shape)
        of = self._split(side)[0, ..., 0]
        return (of[:, None, :] != of[:, :, None]).float()[:, None] * _ELSEWHERE


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.meta_mlp = _Between(2, _HIDDEN, heads, nn.ReLU())
        self.tau = nn.Parameter(torch.ones(heads))

    def forward(self, x: Tensor, distances: Tensor, apart: Tensor) -> Tensor:
        """[B, windows, tokens, W] to the same."""
        parts = self.qkv(x).unflatten(-1, (3, self.heads, -1)).movedim(-3, 0).transpose(-2, -3)
        query, key, value = parts.unbind(0)
        scores = F.normalize(query, dim=-1) @ F.normalize(key, dim=-1).transpose(-2, -1)
        scores = scores / self.tau.clamp(min=_SHARPEST).view(-1, 1, 1)
        bias = self.meta_mlp(distances.to(x.dtype)).movedim(-1, 0)
        weights = (scores + bias + apart).softmax(dim=-1)
        return self.proj((weights @ value).transpose(-2, -3).flatten(-2))


class _Between(nn.Module):
    """Two linear layers with something between them."""

    def __init__(self, wide: int, hidden: int, out: int, between: nn.Module) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(wide, hidden), between, nn.Linear(hidden, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


def _distances(window: tuple[int, int]) -> Tensor:
    """[tokens, tokens, 2]: rows and columns from one to another, as signed logarithms."""
    sides = torch.meshgrid(*(torch.arange(n) for n in window), indexing="ij")
    at = torch.stack([side.flatten() for side in sides], dim=1).float()
    apart = at[:, None] - at[None]
    return apart.sign() * apart.abs().log1p()
