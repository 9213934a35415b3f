"""The encoder of a VQGAN: its tokens are scores of codes, the nearest code's the largest."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from manyviews.core import Encoder, Features, Hide, UsageError
from manyviews.encoders.maps import refuse_tokens
from manyviews.encoders.settings import VQGANConfig

MULTIPLES = (1, 1, 2, 2, 4)
"""Of the width, in each stage."""
_GROUPS, _BLOCKS = 32, 2


class VQGAN(Encoder):
    """Residual convolutions in stages, averaged by two between them, and the nearest of K vectors.

    `tokens` [B, N, K] are less the squared distances to the codes' vectors, so the code of a place
    is the largest; `pooled` [B, K] is how often each code is expected in the image.

    Source: Esser et al. 2021, arXiv:2012.09841, in the variant that MAGE is fed: LTH14/mage
    taming/modules/diffusionmodules/model.py (`Encoder`), taming/modules/vqvae/quantize.py. There is
    no attention, and convolutions but the last have no bias.
    """

    def __init__(self, config: VQGANConfig) -> None:
        """Build with random weights.

        Raises:
            UsageError: a patch that is none of 2, 4, 8 and 16, or does not divide the images, or
                a width that cannot be normed in groups.
        """
        super().__init__()
        side, patch, width = config.input.side, config.patch, config.width
        stages = patch.bit_length()
        if patch & (patch - 1) or not 1 < stages <= len(MULTIPLES) or side % patch:
            raise UsageError(
                f"This encoder halves the side until a place is a patch: --encoder.patch is "
                f"{patch} and images have {side} pixels. Give 2, 4, 8 or 16, which divides them."
            )
        if width % _GROUPS:
            raise UsageError(
                f"This encoder norms channels in {_GROUPS} groups, and a width of {width} cannot "
                f"be split so. Give a multiple of {_GROUPS}."
            )
        self.dim = config.codes
        self.input, self.grid, self.patch = config.input, (side // patch,) * 2, (patch, patch)
        widths = [width * multiple for multiple in MULTIPLES[:stages]]
        self.conv_in = nn.Conv2d(config.input.channels, width, 3, padding=1, bias=False)
        before = [width, *widths[:-1]]
        self.down = nn.ModuleList(
            nn.ModuleDict({"block": _blocks(a, b)}) for a, b in zip(before, widths, strict=True)
        )
        last = widths[-1]
        self.mid = nn.ModuleDict(
            {"block_1": _Residual(last, last), "block_2": _Residual(last, last)}
        )
        self.norm_out = _norm(last)
        self.conv_out = nn.Conv2d(last, config.code, 1)
        self.codebook = nn.Embedding(config.codes, config.code)
        nn.init.uniform_(self.codebook.weight, -1 / config.codes, 1 / config.codes)

    def by_depth(self) -> Sequence[Sequence[nn.Parameter]]:
        """The first convolution; then each stage, and the middle."""
        return [list(m.parameters()) for m in (self.conv_in, *self.down, self.mid)]

    def forward(
        self,
        x: Tensor,
        *,
        keep: Tensor | None = None,
        hide: Hide | None = None,
        blocks: int = 0,
        tokens: bool = True,
    ) -> Features:
        """Images [B, C, S, S] to features.

        Raises:
            Unsupported: keep, hide or blocks was asked for.
        """
        del tokens
        refuse_tokens(keep, hide, blocks, name="The encoder vqgan", of="images")
        h = self.conv_in(x)
        for i, stage in enumerate(self.down):
            if i:
                h = F.avg_pool2d(h, 2)
            for block in stage.children():
                h = block(h)
        for block in self.mid.children():
            h = block(h)
        places = self.conv_out(F.silu(self.norm_out(h))).flatten(2).transpose(1, 2)
        codes = self.codebook.weight
        far = places.square().sum(dim=2, keepdim=True) + codes.square().sum(dim=1)
        logits = 2 * places @ codes.T - far
        return Features(logits.softmax(dim=2).mean(dim=1), logits)


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(_GROUPS, width, eps=1e-6)


def _blocks(before: int, width: int) -> nn.Sequential:
    return nn.Sequential(*(_Residual(width if i else before, width) for i in range(_BLOCKS)))


class _Residual(nn.Module):
    """x + twice a norm, x sigmoid(x) and a 3x3 convolution."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = _norm(before), _norm(width)
        self.conv1 = nn.Conv2d(before, width, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.nin_shortcut = None
        if before != width:
            self.nin_shortcut = nn.Conv2d(width, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        # where widths differ the authors put a 1x1 convolution of h, not of x, in the place of x
        return x + h if self.nin_shortcut is None else h + self.nin_shortcut(h)
