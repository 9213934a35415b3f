"""A vision transformer whose tokens are tubelets: a few frames of a patch of a clip."""

from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from manyviews.core import Encoder, Features, Hide, Unsupported, UsageError
from manyviews.core.positions import sincos3d, sinusoid
from manyviews.encoders.blocks import check_blocks, heads_for, through
from manyviews.encoders.divided import DividedBlock
from manyviews.encoders.settings import TubeletsConfig

_BEFORE = ("patch_embed", "pos_embed", "cls_token")
"""Names of what stands before the first block."""


class Tubelets(Encoder):
    """Attention over space and time, at once or divided; fixed or learned positions.

    `pooled` is the mean of the tokens after the final norm. With `keep` there are K tokens, in its
    order, and joint attention costs K^2. Tong et al. 2022 (VideoMAE), arXiv:2203.12602;
    MCG-NJU/VideoMAE modeling_pretrain.py, but that keys have a bias, which changes nothing, and
    that the patch embedding starts as MAE's. Names of parameters are theirs, and those of
    facebookresearch/mae_st for a class token and learned positions.
    """

    positions: Tensor
    pos_embed: Tensor

    def __init__(self, config: TubeletsConfig) -> None:
        """Build with random weights.

        Raises:
            UsageError: clips that cannot be cut into tubelets, or a width that cannot be split.
        """
        super().__init__()
        self.input, self.dim = config.input, config.width
        self.patch = (config.tubelet, config.patch, config.patch)
        channels, *sizes = config.input.shape
        times, rows, columns = (n // step for n, step in zip(sizes, self.patch, strict=True))
        self.grid = (times, rows, columns)
        _check(config)
        heads = heads_for(config.width, config.heads, parts=2)
        self.patch_embed = _Embedding(channels, self.dim, self.patch)
        self.divided = config.attention == "divided"
        kind = partial(DividedBlock, times=times, places=rows * columns) if self.divided else Block
        self.blocks = nn.ModuleList(
            kind(self.dim, heads, mlp_ratio=4.0, qkv_bias=True) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(self.dim, eps=1e-6)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        with torch.no_grad():
            nn.init.xavier_uniform_(self.patch_embed.proj.weight.flatten(1))
        for block in list(self.blocks)[1:] if self.divided else []:
            cast("DividedBlock", block).start()
        self.cls_token = _drawn(1, self.dim) if config.class_token else None
        self._make_positions(config.positions)

    def _make_positions(self, kind: str) -> None:
        times, rows, columns = self.grid
        self.learned = kind == "learned"
        if kind == "learned":
            self.pos_embed_spatial = _drawn(rows * columns, self.dim)
            self.pos_embed_temporal = _drawn(times, self.dim)
            self.pos_embed_class = None if self.cls_token is None else _drawn(1, self.dim)
        elif kind == "grid":  # in V-JEPA's files
            self.register_buffer("pos_embed", sincos3d(self.dim, (times, rows, columns))[None])
        else:
            table = sinusoid(self.dim, self.num_tokens)
            self.register_buffer("positions", table, persistent=False)

    def places(self) -> Tensor:
        """What is added to tokens for where they are, [N, D]."""
        if self.learned:
            of_times = self.pos_embed_temporal.transpose(0, 1)
            return (of_times + self.pos_embed_spatial).flatten(0, 1)
        return self.pos_embed[0] if "pos_embed" in self._buffers else self.positions

    def by_depth(self) -> Sequence[Sequence[nn.Parameter]]:
        """The patch embedding with learned positions and class token, then each block."""
        own = [p for name, p in self.named_parameters() if name.startswith(_BEFORE)]
        return [own, *(list(block.parameters()) for block in self.blocks)]

    def patch_embedding(self) -> Sequence[nn.Parameter]:
        """The convolution that embeds tubelets."""
        return list(self.patch_embed.parameters())

    def forward(
        self,
        x: Tensor,
        *,
        keep: Tensor | None = None,
        hide: Hide | None = None,
        blocks: int = 0,
        tokens: bool = True,
    ) -> Features:
        """Clips [B, C, T, S, S] to features.

        Raises:
            Unsupported: clips of another size, more blocks than there are, or some tokens alone of
                divided attention.
        """
        del tokens
        check_blocks(blocks, len(self.blocks))
        sequence = self.embed(x, hide=hide)
        if keep is not None:
            if self.divided:
                raise Unsupported(
                    "Divided attention wants all tokens of each time and place, and some were to "
                    "be kept alone. Set --encoder.attention joint."
                )
            sequence = sequence.gather(1, keep[..., None].expand(-1, -1, self.dim))
        before = 0
        if self.cls_token is not None:
            token = self.cls_token
            if self.learned and self.pos_embed_class is not None:
                token = token + self.pos_embed_class
            sequence = torch.cat((token.expand(len(x), -1, -1).to(sequence), sequence), dim=1)
            before = 1
        sequence, hidden = through(self.blocks, sequence, last=blocks, before=before)
        sequence = self.norm(sequence)
        class_token, found = (sequence[:, 0] if before else None), sequence[:, before:]
        return Features(found.mean(dim=1), found, hidden, class_token)

    def embed(self, x: Tensor, *, hide: Hide | None = None) -> Tensor:
        """What enters the first block, [B, N, D]: tubelets, some replaced, with positions."""
        if x.shape[1:] != self.input.shape:
            raise Unsupported(
                f"A transformer of tubelets has positions for clips of {self.input.shape}, and was "
                f"given {tuple(x.shape[1:])}. Leave out --views.global.size."
            )
        tokens = self.patch_embed(x)
        if hide is not None:
            tokens = torch.where(hide.where[..., None], hide.token.to(tokens.dtype), tokens)
        return tokens + self.places().to(tokens.dtype)


def _drawn(count: int, dim: int) -> nn.Parameter:
    """[1, count, D], normal of deviation 0.02."""
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(1, count, dim), std=0.02))


class _Embedding(nn.Module):
    """Each tubelet's values by one linear map: [B, C, T, S, S] -> [B, N, D]."""

    def __init__(self, channels: int, dim: int, patch: tuple[int, int, int]) -> None:
        super().__init__()
        self.proj = nn.Conv3d(channels, dim, patch, patch)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)


def _check(config: TubeletsConfig) -> None:
    fed = config.input
    if fed.side % config.patch or fed.frames % config.tubelet:
        raise UsageError(
            f"Clips of {fed.frames} frames of {fed.side} pixels cannot be cut into tubelets of "
            f"{config.tubelet} frames of {config.patch} pixels. Change --encoder.patch or "
            "--encoder.tubelet."
        )
