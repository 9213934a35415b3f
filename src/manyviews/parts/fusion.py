"""Tokens of two modalities together: blocks that both go through, and a decoder of both."""

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from manyviews.core.positions import fixed
from manyviews.parts.decoder import check_width

TOGETHER = "together"
"""Instead of a modality's name: the tokens of all of them, one after the other."""


class JointBlock(nn.Module):
    """A transformer's block with norms for each modality alone and for all together.

    Attention and the MLP are the same in all cases.

    Source: Gong et al. 2023 (CAV-MAE); YuanGongND/cav-mae src/models/cav_mae.py.
    """

    def __init__(self, dim: int, heads: int, names: Iterable[str]) -> None:
        """Build it for tokens of width dim, a multiple of heads, of modalities by their names."""
        from timm.models.vision_transformer import Block  # slow to import; most runs never need it

        super().__init__()
        every = (TOGETHER, *names)
        self.norm1 = nn.ModuleDict({name: nn.LayerNorm(dim, eps=1e-6) for name in every})
        self.norm2 = nn.ModuleDict({name: nn.LayerNorm(dim, eps=1e-6) for name in every})
        plain = Block(dim, heads, mlp_ratio=4.0, qkv_bias=True)
        self.attn, self.mlp = plain.attn, plain.mlp

    def forward(self, x: Tensor, which: str) -> Tensor:
        """[B, N, D] of one modality, or of all together, to the same."""
        x = x + self.attn(self.norm1[which](x))
        return x + self.mlp(self.norm2[which](x))


class JointBlocks(nn.Module):
    """Joint blocks on the tokens of several encoders, which come to the widest one's width.

    Attributes:
        dim: of what goes in and out, the widest encoder's.
    """

    def __init__(
        self, dims: Mapping[str, int], *, depth: int, alone: bool = True, own: int = 0
    ) -> None:
        """Build it.

        Args:
            dims: modality -> width of its tokens; each other than the widest has a linear map.
            depth: blocks.
            alone: each modality's tokens go through by themselves too, with norms of their own.
            own: blocks behind these that are of one modality, which goes through them by itself.
        """
        from timm.models.vision_transformer import Block  # slow to import; most runs never need it

        super().__init__()
        self._alone = alone
        self.dim = max(dims.values())
        self.entry = nn.ModuleDict(
            {
                name: nn.Identity() if dim == self.dim else nn.Linear(dim, self.dim)
                for name, dim in dims.items()
            }
        )
        heads = max(1, self.dim // 64)
        names = tuple(dims) if alone else ()
        self.blocks = nn.ModuleList(JointBlock(self.dim, heads, names) for _ in range(depth))
        self.own = nn.ModuleDict()
        for name in names if own else ():
            blocks = [Block(self.dim, heads, mlp_ratio=4.0, qkv_bias=True) for _ in range(own)]
            self.own[name] = nn.Sequential(*blocks)
        self.norm = nn.ModuleDict(
            {name: nn.LayerNorm(self.dim, eps=1e-6) for name in (TOGETHER, *names)}
        )
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(
        self, tokens: Mapping[str, Tensor], first: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Modality -> tokens [B, K, D], to those of all together after the blocks, and of each.

        Args:
            tokens: of each modality.
            first: modality -> [B, D], a further token that stands before the others where that
                goes through by itself, and is not among those of all together.
        """
        entered = {name: self.entry[name](x) for name, x in tokens.items()}
        cases = {TOGETHER: torch.cat(list(entered.values()), dim=1)}
        for name, x in (first or {}).items():
            entered[name] = torch.cat([self.entry[name](x)[:, None], entered[name]], dim=1)
        cases |= entered if self._alone else {}
        for block in self.blocks:
            cases = {name: block(x, name) for name, x in cases.items()}
        cases |= {name: own(cases[name]) for name, own in self.own.items()}
        return {name: self.norm[name](x) for name, x in cases.items()}


class JointDecoder(nn.Module):
    """One small transformer that predicts the patches of all modalities from their visible ones.

    Attributes:
        mask_token: [1, 1, W] parameter, what stands at every hidden place.
        modality: name -> [1, 1, W] parameter, added to all of a modality's tokens.

    Source: Gong et al. 2023 (CAV-MAE); YuanGongND/cav-mae src/models/cav_mae.py.
    """

    def __init__(
        self,
        dim: int,
        *,
        grids: Mapping[str, Sequence[int]],
        outs: Mapping[str, int],
        width: int,
        depth: int,
        heads: int,
    ) -> None:
        """Build it.

        Args:
            dim: D of the tokens that come in.
            grids: modality -> the places of its tokens.
            outs: modality -> values to predict for each patch.
            width: W, a multiple of 4 and of heads.
            depth: blocks.
            heads: of attention.

        Raises:
            UsageError: a width that cannot be split.
        """
        from timm.models.vision_transformer import Block  # slow to import; most runs never need it

        check_width(width, heads)
        super().__init__()
        self.embed = nn.Linear(dim, width)
        self.mask_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.modality = nn.ParameterDict(
            {name: nn.Parameter(torch.randn(1, 1, width) * 0.02) for name in grids}
        )
        for name, grid in grids.items():
            self.register_buffer(f"positions_{name}", fixed(width, grid)[None])
        self.blocks = nn.Sequential(
            *(Block(width, heads, mlp_ratio=4.0, qkv_bias=True) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.predict = nn.ModuleDict({name: nn.Linear(width, out) for name, out in outs.items()})
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor, keep: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Predict all patches.

        Args:
            tokens: [B, K of all modalities, D], modality after modality.
            keep: modality -> [B, K] int64, the places of its visible tokens, in that order.

        Returns:
            Modality -> [B, N, out].
        """
        x = self.embed(tokens)
        rows: list[Tensor] = []
        for (name, at), seen in zip(
            keep.items(), x.split([at.shape[1] for at in keep.values()], dim=1), strict=True
        ):
            places = cast(Tensor, getattr(self, f"positions_{name}"))
            gaps = self.mask_token.to(x.dtype).expand(len(x), places.shape[1], -1)
            filled = gaps.scatter(1, at[..., None].expand_as(seen), seen)
            rows.append(filled + places + self.modality[name])
        x = self.norm(self.blocks(torch.cat(rows, dim=1)))
        parts = x.split([row.shape[1] for row in rows], dim=1)
        return {name: self.predict[name](part) for name, part in zip(keep, parts, strict=True)}
