"""A vision transformer over the codes of an image, which a frozen tokenizer gives it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from manyviews.core import Encoder, Features, Hide, Unsupported, UsageError
from manyviews.encoders.blocks import check_blocks, heads_for, through
from manyviews.encoders.dvae import DVAE
from manyviews.encoders.settings import CodedConfig, DVAEConfig, VQGANConfig
from manyviews.encoders.vqgan import VQGAN

_MAGES = {"tokenizer": "vqgan", "patch": 16, "codes": 1024, "filters": 128}
_SIZES: dict[str, dict[str, Any]] = {
    "coded": {},
    "coded_base": {**_MAGES, "width": 768, "depth": 12, "heads": 12},
    "coded_large": {**_MAGES, "width": 1024, "depth": 24, "heads": 16},
}


class Coded(Encoder):
    """Images to codes, codes to vectors, these through pre-norm blocks.

    Positions are learned; they and the vectors are normed together before the first block.
    `pooled` is the mean of the tokens after the final norm.

    Attributes:
        tokenizer: frozen; its largest score is the code of a place. Random until `adopt`.
        words: a vector of each code.
        class_token: [1, 1, D] parameter.
        positions: [1, 1 + N, D] parameter, the class token's first.

    Source: Li et al. 2023 (MAGE), section 3.1; LTH14/mage models_mage.py (`BertEmbeddings`), whose
    tokenizer is a VQGAN.
    """

    def __init__(self, config: CodedConfig) -> None:
        """Build with random weights.

        Raises:
            UsageError: a width that cannot be split, or a patch as the tokenizer says.
        """
        super().__init__()
        config = replace(config, **_SIZES[config.name])
        width, heads = config.width, heads_for(config.width, config.heads)
        sizes = {"patch": config.patch, "width": config.filters, "codes": config.codes}
        self.tokenizer: Encoder = (
            DVAE(DVAEConfig(input=config.input, **sizes))
            if config.tokenizer == "dvae"
            else VQGAN(VQGANConfig(input=config.input, **sizes))
        )
        self.tokenizer.requires_grad_(requires_grad=False)
        self.input, self.dim = config.input, width
        self.grid, self.patch = self.tokenizer.grid, self.tokenizer.patch
        self.words = nn.Embedding(config.codes, width)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, 1 + self.num_tokens, width))
        self.norm_pre = nn.LayerNorm(width, eps=1e-6)
        self.blocks = nn.ModuleList(
            Block(width, heads, mlp_ratio=4.0, qkv_bias=True) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)
        for table in (self.words.weight, self.class_token, self.positions):
            nn.init.normal_(table, std=0.02)
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def adopt(self, tokenizer: Encoder) -> None:
        """Take over another tokenizer's weights.

        Raises:
            UsageError: it is of another kind, or of other sizes.
        """
        mine, theirs = self.tokenizer.state_dict(), tokenizer.state_dict()
        shapes = [{k: tuple(v.shape) for k, v in state.items()} for state in (mine, theirs)]
        if shapes[0] != shapes[1]:
            kind = type(self.tokenizer).__name__.lower()
            raise UsageError(
                f"The encoder reads {self.tokenizer.dim} codes of a {kind} of its own sizes, "
                f"and was given another {type(tokenizer).__name__}. Set --encoder.codes and "
                f"--encoder.filters as the codes and the width of that, or give another {kind}."
            )
        self.tokenizer.load_state_dict(theirs)

    @torch.no_grad()
    def codes(self, x: Tensor) -> Tensor:
        """Images [B, C, S, S] to codes [B, N] int64."""
        return self.tokenizer(x).tokens.argmax(dim=2)

    def by_depth(self) -> Sequence[Sequence[nn.Parameter]]:
        """Tokenizer, vectors and positions; then each block."""
        parts = (self.tokenizer, self.words, self.norm_pre)
        stem = [self.class_token, self.positions, *(p for m in parts for p in m.parameters())]
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
            Unsupported: images of another size, or more blocks than there are.
        """
        del tokens
        check_blocks(blocks, len(self.blocks), of="an encoder that")
        codes = x if x.ndim == 2 else self.codes(self._checked(x))
        sequence = self.words(codes)
        if hide is not None:
            sequence = torch.where(hide.where[..., None], hide.token.to(sequence.dtype), sequence)
        first = self.class_token.expand(len(sequence), -1, -1)
        sequence = self.norm_pre(torch.cat([first, sequence], dim=1) + self.positions)
        if keep is not None:
            index = keep[..., None].expand(-1, -1, self.dim)
            sequence = torch.cat([sequence[:, :1], sequence[:, 1:].gather(1, index)], dim=1)
        sequence, hidden = through(self.blocks, sequence, last=blocks, before=1)
        sequence = self.norm(sequence)
        seen = sequence[:, 1:]
        return Features(seen.mean(dim=1), seen, hidden, sequence[:, 0])

    def _checked(self, x: Tensor) -> Tensor:
        if tuple(x.shape[1:]) != self.input.shape:
            raise Unsupported(
                f"An encoder of codes takes images of {self.input.shape}, and these are of "
                f"{tuple(x.shape[1:])}. Leave out sizes of views."
            )
        return x
