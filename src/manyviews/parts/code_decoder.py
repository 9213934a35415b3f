"""A decoder that fills gaps in a row of codes, MAGE's."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from manyviews.core import UsageError


class CodeDecoder(nn.Module):
    """A transformer over all places that scores every code at each of them.

    At a hidden place stands what the encoder made of the class token, brought to the decoder's
    width, or else one learned vector; positions are learned.

    Attributes:
        mask_token: [W] parameter, where nothing of the class token stands in.
        words: [K, D] parameter that scores are products with, unless the encoder's own are given.
        bias: [K] parameter.

    Source: Li et al. 2023 (MAGE), section 3.2; LTH14/mage models_mage.py (`forward_decoder`,
    `MlmLayer`).
    """

    def __init__(
        self,
        dim: int,
        *,
        places: int,
        codes: int,
        width: int,
        depth: int,
        heads: int,
        learned: bool,
        tied: bool,
    ) -> None:
        """Build it.

        Args:
            dim: D of the encoder's tokens.
            places: N.
            codes: K.
            width: W of the decoder's tokens, a multiple of heads.
            depth: blocks.
            heads: of attention.
            learned: a learned vector stands at hidden places.
            tied: the encoder's vectors of codes are given at each call.

        Raises:
            UsageError: a width that cannot be split.
        """
        from timm.models.vision_transformer import Block  # slow to import; most runs never need it

        if width % heads:
            raise UsageError(
                f"A decoder width of {width} cannot be split over {heads} heads. "
                "Change --method.width or --method.heads."
            )
        super().__init__()
        self.decoder_embed = nn.Linear(dim, width)
        self.decoder_pos_embed = nn.Parameter(torch.randn(1, 1 + places, width) * 0.02)
        self.decoder_blocks = nn.Sequential(
            *(Block(width, heads, mlp_ratio=4.0, qkv_bias=True) for _ in range(depth))
        )
        self.decoder_norm = nn.LayerNorm(width, eps=1e-6)
        self.fc, self.ln = nn.Linear(width, dim), nn.LayerNorm(dim)
        self.mask_token = nn.Parameter(torch.randn(width) * 0.02) if learned else None
        self.words = None if tied else nn.Parameter(torch.randn(codes, dim) * 0.02)
        self.bias = nn.Parameter(torch.zeros(codes))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(
        self,
        tokens: Tensor,
        keep: Tensor,
        hidden: Tensor,
        *,
        class_token: Tensor | None,
        words: Tensor | None = None,
    ) -> Tensor:
        """Score the codes of all places.

        Args:
            tokens: [B, M, D] encoded tokens.
            keep: [B, M] int64, their places.
            hidden: [B, N] bool; also of places that were encoded, but with nothing to be seen.
            class_token: [B, D] encoded.
            words: [K, D] the encoder's vectors of codes, which get no gradient here; None for the
                decoder's own.

        Returns:
            [B, N, K].

        Raises:
            UsageError: there is no class token to stand at hidden places.
        """
        first = None if class_token is None else self.decoder_embed(class_token)[:, None]
        gap = first if self.mask_token is None else self.mask_token
        if gap is None:
            raise UsageError(
                "The encoder has no class token to stand at hidden places. Set --method.gap "
                "learned, or take another encoder."
            )
        made = self.decoder_embed(tokens)
        gap = gap.to(made.dtype).expand(len(made), hidden.shape[1], -1)
        x = gap.scatter(1, keep[..., None].expand_as(made), made)
        x = torch.where(hidden[..., None], gap, x) + self.decoder_pos_embed[:, 1:]
        if first is not None:
            x = torch.cat([first + self.decoder_pos_embed[:, :1], x], dim=1)
        x = self.decoder_norm(self.decoder_blocks(x)[:, -hidden.shape[1] :])
        table = self.words if words is None else words.detach()
        assert table is not None  # one or the other, as it was built
        return F.linear(self.ln(F.gelu(self.fc(x))), table, self.bias)
