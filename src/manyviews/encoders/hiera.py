"""Hiera: a transformer of stages that attends within mask units first, and can leave units out."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from timm.models.hiera import HieraBlock, PatchEmbed
from torch import Tensor, nn

from manyviews.core import Encoder, Features, Hide, Unsupported, UsageError
from manyviews.encoders.blocks import check_blocks
from manyviews.encoders.settings import HieraConfig, HieraSize, HieraVideoConfig


@dataclass(frozen=True, kw_only=True)
class _Size:
    width: int
    heads: int
    depths: tuple[int, ...]


_SIZES: dict[HieraSize, _Size] = {
    "hiera_tiny": _Size(width=96, heads=1, depths=(1, 2, 7, 2)),
    "hiera_small": _Size(width=96, heads=1, depths=(1, 2, 11, 2)),
    "hiera_base": _Size(width=96, heads=1, depths=(2, 3, 16, 3)),
    "hiera_base_plus": _Size(width=112, heads=2, depths=(2, 3, 16, 3)),
    "hiera_large": _Size(width=144, heads=2, depths=(2, 6, 36, 4)),
    "hiera_huge": _Size(width=256, heads=4, depths=(2, 6, 36, 4)),
}


class Hiera(Encoder):
    """Plain blocks in stages: attention within mask units, then everywhere; pooled in between.

    A stage begins with a block that doubles the width and, in the first `pools` of them, takes the
    largest of each 2 x 2 queries. Tokens of a mask unit lie so that pooling and attention within
    it are views, also when units are left out: with `keep`, which must name whole units, hidden
    pixels are 0 before the overlapping convolution and their tokens are dropped. There is no class
    token, and nothing can be hidden by a token in its place.

    `tokens` are normed; `pooled` is the norm of their mean before it, as the authors classify. With
    `fusion` what is normed is the sum of all stages' ends, brought to the last one's places by
    convolutions (their decoder's input).

    Attributes:
        unit: places of the grid that `keep` must name together, along each axis.

    Source: Ryali et al. 2023, arXiv:2306.00989; facebookresearch/hiera hiera/hiera.py and
    hiera_mae.py, whose names the parameters have.
    """

    places: Tensor

    def __init__(self, config: HieraConfig | HieraVideoConfig) -> None:
        """Build with random weights: of MAE's kind with `fusion`, otherwise as for classification.

        Raises:
            UsageError: views that cannot be cut into mask units, or more pools than stages.
        """
        super().__init__()
        size = _SIZES[config.size if isinstance(config, HieraVideoConfig) else config.name]
        self.input = config.input
        self.depths = config.depths or size.depths
        self.levels, self.pools = len(self.depths) - 1, config.pools
        channels, *sides = config.input.shape
        time = (config.tubelet,) if isinstance(config, HieraVideoConfig) else ()
        cut = (*time, config.patch, config.patch)
        # over time nothing is pooled, and a mask unit is one token long
        self.stride = (*(1 for _ in time), 2, 2)
        self._check(config, sides, cut)
        tokens = tuple(side // step for side, step in zip(sides, cut, strict=True))
        self.units = self._over(tokens, self.levels)
        self.grid = self._over(tokens, self.pools)
        self.patch = tuple(p * s**self.pools for p, s in zip(cut, self.stride, strict=True))
        self.unit = tuple(s ** (self.levels - self.pools) for s in self.stride)
        width = config.width or size.width
        self.dim = width * 2**self.levels
        # an image's kernel overlaps by all but a pixel, as that of a clip does over its frames
        kernel = tuple(2 * step - 1 for step in cut)
        self.patch_embed = PatchEmbed(channels, width, kernel, cut, tuple(s - 1 for s in cut))
        self._positions(tokens, width)
        self.blocks = nn.ModuleList(self._blocks(config, width, config.heads or size.heads))
        self.norm = nn.LayerNorm(self.dim, eps=1e-6)
        self.multi_scale_fusion_heads = nn.ModuleList(self._fusion(width) if config.fusion else [])
        raster = torch.arange(self.num_tokens).view(1, *self.grid, 1)
        order = self._unrolled(raster, self.levels - self.pools).flatten()
        self.register_buffer("places", order.argsort(), persistent=False)
        _initialise(self, masked=config.fusion)

    def by_depth(self) -> Sequence[Sequence[nn.Parameter]]:
        """Positions and patches; then each block."""
        stem = [p for name, p in self.named_parameters() if name.startswith("pos_embed")]
        return [
            [*stem, *self.patch_embed.parameters()],
            *(list(b.parameters()) for b in self.blocks),
        ]

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
        """Views to features; see `Encoder`. With `keep` there are K tokens, in its order.

        `hidden` are of the last stage, whose places alone are those of `grid`.

        Raises:
            Unsupported: another size, `hide`, parts of mask units, or blocks of earlier stages.
        """
        self._refuse(x, hide, blocks)
        kept = None if keep is None else self._units_of(keep)
        count = kept.shape[1] if kept is not None else math.prod(self.units)
        sequence, ends, hidden = self._embed(x, kept), list[Tensor](), list[Tensor]()
        stages = set(itertools.accumulate(self.depths))
        for i, block in enumerate(self.blocks, 1):
            sequence = block(sequence)
            if i in stages:
                ends.append(sequence)
            if i > len(self.blocks) - blocks:
                hidden.append(sequence)
        last = self._fused(ends)
        pooled = self.norm(last.mean(dim=1))
        if not tokens:
            return Features(pooled, last[:, :0])
        order = self._order(keep, kept, count)
        seen = tuple(_rows(each, order) for each in hidden)
        return Features(pooled, _rows(self.norm(last), order), seen)

    def _embed(self, x: Tensor, kept: Tensor | None) -> Tensor:
        """Tokens of the kept units, unrolled: [B, S U, W]."""
        if kept is None:
            tokens = self.patch_embed(x) + self._table()
        else:
            shown = torch.zeros(len(x), math.prod(self.units), dtype=torch.bool, device=x.device)
            shown = shown.scatter(1, kept, value=True).view(-1, 1, *self.units)
            tokens = self.patch_embed(x, mask=shown) + self._table()
        sizes = [n * s**self.pools for n, s in zip(self.grid, self.stride, strict=True)]
        tokens = self._unrolled(tokens.unflatten(1, sizes), self.levels)
        if kept is not None:
            apart = tokens.unflatten(1, (-1, math.prod(self.units)))
            index = kept[:, None, :, None].expand(-1, apart.shape[1], -1, apart.shape[3])
            tokens = apart.gather(2, index).flatten(1, 2)
        return tokens

    def _table(self) -> Tensor:
        """Positions [1, N, W] of the first stage's tokens."""
        if len(self.stride) == 2:
            return self.pos_embed
        times, places = self.pos_embed_temporal, self.pos_embed_spatial
        return (times[:, :, None] + places[:, None]).flatten(1, 2)

    def _fused(self, ends: list[Tensor]) -> Tensor:
        """What is normed: the last stage's end, or the sum of all that differ in resolution."""
        total = ends[-1]
        for i, head in enumerate(self.multi_scale_fusion_heads):
            levels, axes = self.pools - i, len(self.stride)
            # [B, s_1 .. s_levels (each of all axes, the finest first), R, C]
            apart = ends[i].unflatten(1, (*(self.stride * levels), total.shape[1]))
            fine = [1 + k * axes + a for a in range(axes) for k in reversed(range(levels))]
            maps = apart.permute(0, 1 + levels * axes, 2 + levels * axes, *fine).flatten(0, 1)
            kernel = [s**levels for s in self.stride]
            total = total + head(maps.reshape(*maps.shape[:2], *kernel)).view_as(total)
        return total

    def _unrolled(self, x: Tensor, levels: int) -> Tensor:
        """[B, *sizes, C] -> [B, N, C], so that a first pooling is over [B, 4, N / 4, C], and so on.

        The last axis of that view after all poolings counts mask units row by row.
        """
        axes = len(self.stride)
        split = [
            part
            for size, s in zip(x.shape[1:-1], self.stride, strict=True)
            for part in (size // s**levels, *(s for _ in range(levels)))
        ]
        begin = [1 + a * (levels + 1) for a in range(axes)]
        finest_first = [at + levels - k for k in range(levels) for at in begin]
        order = (0, *finest_first, *begin, 1 + axes * (levels + 1))
        return (
            x.reshape(len(x), *split, x.shape[-1]).permute(order).reshape(len(x), -1, x.shape[-1])
        )

    def _units_of(self, keep: Tensor) -> Tensor:
        """Places [B, K] -> the units that they fill [B, U], ascending.

        Raises:
            Unsupported: they do not fill them.
        """
        unit, each = self.places[keep] % math.prod(self.units), math.prod(self.unit)
        units = unit.sort(dim=1).values[:, ::each].contiguous()
        counted = torch.zeros(len(keep), math.prod(self.units), device=keep.device)
        counted.scatter_add_(1, unit, torch.ones_like(unit, dtype=counted.dtype))
        if not bool(((counted == 0) | (counted == each)).all()):
            raise Unsupported(
                f"Hiera shows or leaves out whole mask units, of {' x '.join(map(str, self.unit))} "
                f"tokens. Set --views.global.mask.unit {self.unit[-1]}."
            )
        return units

    def _order(self, keep: Tensor | None, kept: Tensor | None, count: int) -> Tensor:
        """Where in the sequence the tokens lie that are wanted: [N] or [B, K]."""
        if keep is None or kept is None:
            return self.places
        every = math.prod(self.units)
        part, unit = self.places[keep] // every, self.places[keep] % every
        rank = torch.searchsorted(kept, unit)
        return part * count + rank

    def _positions(self, tokens: Sequence[int], width: int) -> None:
        if len(tokens) == 2:
            self.pos_embed = nn.Parameter(torch.zeros(1, math.prod(tokens), width))
            return
        self.pos_embed_spatial = nn.Parameter(torch.zeros(1, math.prod(tokens[1:]), width))
        self.pos_embed_temporal = nn.Parameter(torch.zeros(1, tokens[0], width))

    def _blocks(self, config: Any, width: int, heads: int) -> list[nn.Module]:
        step = config.drop_path / max(1, sum(self.depths) - 1)
        made: list[nn.Module] = []
        pooling, within = math.prod(self.stride), math.prod(self.stride) ** self.levels
        for stage, depth in enumerate(self.depths):
            for i in range(depth):
                first = i == 0 and stage > 0
                pools = first and stage <= self.pools
                within //= pooling if pools else 1
                block = HieraBlock(
                    dim=width // 2 if first else width,
                    dim_out=width,
                    heads=heads,
                    drop_path=step * len(made),
                    norm_layer=cast("type[nn.Module]", partial(nn.LayerNorm, eps=1e-6)),
                    q_stride=pooling if pools else 1,
                    window_size=within,
                    # the first block of a stage attends as the last of the one before
                    use_mask_unit_attn=stage - first < 2,
                )
                made.append(block)
            width, heads = width * 2, heads * 2
        return made

    def _fusion(self, width: int) -> list[nn.Module]:
        conv = nn.Conv2d if len(self.stride) == 2 else nn.Conv3d
        heads: list[nn.Module] = []
        for stage in range(self.pools):
            kernel: Any = tuple(s ** (self.pools - stage) for s in self.stride)
            heads.append(conv(width * 2**stage, self.dim, kernel, kernel))
        return heads

    def _over(self, sizes: Sequence[int], times: int) -> tuple[int, ...]:
        return tuple(n // s**times for n, s in zip(sizes, self.stride, strict=True))

    def _check(self, config: Any, sides: Sequence[int], cut: Sequence[int]) -> None:
        if not 0 <= self.pools <= self.levels:
            raise UsageError(
                f"A Hiera of {len(self.depths)} stages pools 0 to {self.levels} times, not "
                f"{self.pools}. Change --encoder.pools or --encoder.depths."
            )
        needed = [step * s**self.levels for step, s in zip(cut, self.stride, strict=True)]
        if any(side % step or side < step for side, step in zip(sides, needed, strict=True)):
            raise UsageError(
                f"Views of {' x '.join(map(str, sides))} cannot be cut into mask units of "
                f"{' x '.join(map(str, needed))} pixels. Set --encoder.input.side to a multiple of "
                f"{needed[-1]}, or a smaller --encoder.patch or fewer --encoder.depths."
            )

    def _refuse(self, x: Tensor, hide: Hide | None, blocks: int) -> None:
        if hide is not None:
            raise Unsupported(
                "Hiera leaves hidden tokens out and has no place for others. Choose a ViT."
            )
        if x.shape[1:] != self.input.shape:
            raise Unsupported(
                f"Hiera has positions for views of {self.input.shape} and was given "
                f"{tuple(x.shape[1:])}. Leave out --views.global.size."
            )
        check_blocks(
            blocks,
            self.depths[-1],
            of="a Hiera whose last stage",
            advice="set other --encoder.depths",
        )


def _rows(x: Tensor, order: Tensor) -> Tensor:
    """Rows of x [B, N, D] at order [N], or [B, K]."""
    if order.ndim == 1:
        return x[:, order]
    return x.gather(1, order[..., None].expand(-1, -1, x.shape[2]))


@torch.no_grad()
def _initialise(model: Hiera, *, masked: bool) -> None:
    """The authors' first weights: hiera.py, or with `masked` those of hiera_mae.py.

    The latter leave the fusion's convolutions as torch begins them.
    """
    for name, parameter in model.named_parameters():
        if name.startswith("pos_embed"):
            nn.init.trunc_normal_(parameter, std=0.02)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            if masked:
                nn.init.xavier_uniform_(module.weight)
            else:
                nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.constant_(module.bias, 0.0 if masked else 0.02)
        elif isinstance(module, nn.LayerNorm) and not masked:
            nn.init.constant_(module.bias, 0.02)
    weight = cast("Tensor", model.patch_embed.proj.weight)
    if masked:
        nn.init.xavier_uniform_(weight.flatten(1))
    else:
        nn.init.trunc_normal_(weight, std=0.02)
