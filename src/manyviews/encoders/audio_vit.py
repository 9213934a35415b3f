"""A vision transformer on spectrograms: its tokens are patches of time and mel bands."""

from collections.abc import Sequence

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from manyviews.core import Encoder, Features, Hide, Unsupported, UsageError
from manyviews.core.positions import sincos
from manyviews.encoders.blocks import check_blocks, heads_for, through
from manyviews.encoders.settings import AudioViTConfig


class AudioViT(Encoder):
    """Attention over time and bands at once, a class token, fixed positions.

    `pooled` is the mean of the patches' tokens after the final norm, which is what Audio-MAE's
    classifiers see. With `keep` there are K tokens, in its order, and attention costs K^2. Patches
    do not overlap: Huang et al. 2022 (Audio-MAE), arXiv:2207.06405; AST's do (Gong et al. 2021,
    arXiv:2104.01778). Names of parameters and initial weights are facebookresearch/AudioMAE's,
    models_mae.py; so are files, whose table of positions is taken with them. Its own table is
    MAE's for times and bands; theirs counts times in the places of bands.

    Attributes:
        pos_embed: [1, 1 + N, D] buffer; zeros for the class token.
    """

    pos_embed: Tensor

    def __init__(self, config: AudioViTConfig) -> None:
        """Build with random weights.

        Raises:
            UsageError: spectrograms that cannot be cut into patches, or a width that cannot be
                split.
        """
        super().__init__()
        self.input, self.dim, self.embed_dim = config.input, config.width, config.width
        self.patch = (config.patch, config.patch)
        frames, bins = config.input.shape[1:]
        _check(config, frames, bins)
        heads = heads_for(config.width, config.heads, parts=4)
        self.grid = (frames // config.patch, bins // config.patch)
        self.patch_embed = _Embedding(self.dim, config.patch)
        self.cls_token = nn.Parameter(torch.randn(1, 1, self.dim) * 0.02)
        table = torch.cat([torch.zeros(1, self.dim), sincos(self.dim, self.grid)])
        self.register_buffer("pos_embed", table[None])
        self.blocks = nn.Sequential(
            *(Block(self.dim, heads, mlp_ratio=4.0, qkv_bias=True) for _ in range(config.depth))
        )
        self.norm = nn.LayerNorm(self.dim, eps=1e-6)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        with torch.no_grad():
            nn.init.xavier_uniform_(self.patch_embed.proj.weight.flatten(1))

    def by_depth(self) -> Sequence[Sequence[nn.Parameter]]:
        """The class token and the patch embedding, then each block."""
        first = [self.cls_token, *self.patch_embed.parameters()]
        return [first, *(list(block.parameters()) for block in self.blocks)]

    def patch_embedding(self) -> Sequence[nn.Parameter]:
        """The convolution that embeds patches."""
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
        """Spectrograms [B, 1, F, bins] to features.

        Raises:
            Unsupported: spectrograms of another size, or more blocks than there are.
        """
        del tokens
        check_blocks(blocks, len(self.blocks))
        patches = self.embed(x, hide=hide)
        if keep is not None:
            patches = patches.gather(1, keep[..., None].expand(-1, -1, self.dim))
        first = (self.cls_token + self.pos_embed[:, :1]).to(patches.dtype)
        sequence = torch.cat([first.expand(len(x), -1, -1), patches], dim=1)
        sequence, hidden = through(self.blocks, sequence, last=blocks, before=1)
        sequence = self.norm(sequence)
        found = sequence[:, 1:]
        return Features(found.mean(dim=1), found, hidden, sequence[:, 0])

    def embed(self, x: Tensor, *, hide: Hide | None = None) -> Tensor:
        """The patches as they enter the first block, [B, N, D]: some replaced, with positions."""
        if x.shape[1:] != self.input.shape:
            raise Unsupported(
                f"A transformer has positions for spectrograms of {self.input.shape}, and was "
                f"given {tuple(x.shape[1:])}. Give pieces of {self.input}."
            )
        patches = self.patch_embed(x)
        if hide is not None:
            patches = torch.where(hide.where[..., None], hide.token.to(patches.dtype), patches)
        return patches + self.pos_embed[:, 1:].to(patches.dtype)


class _Embedding(nn.Module):
    """Each patch's values by one linear map: [B, 1, F, bins] -> [B, N, D], time by time."""

    def __init__(self, dim: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, dim, patch, patch)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)


def _check(config: AudioViTConfig, frames: int, bins: int) -> None:
    if frames % config.patch or bins % config.patch:
        raise UsageError(
            f"Spectrograms of {frames} frames and {bins} bands cannot be cut into patches of "
            f"{config.patch}. Change --encoder.patch, or --encoder.input.seconds to "
            f"{-(-frames // config.patch) * config.patch * config.input.hop:g}."
        )
