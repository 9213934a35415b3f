"""Images of several resolutions through one stack of transformer blocks.

Everything in a block but attention treats tokens one by one. So the tokens of all resolutions lie
in one row, and only attention parts them: fewer and larger matrix products for the same numbers.
The idea is DINOv3's (Simeoni et al. 2025); nothing is padded and no mask is needed.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from timm.layers.attention import Attention
from timm.layers.drop import DropPath
from timm.models.vision_transformer import Block
from torch import Tensor, nn


def packable(block: nn.Module) -> bool:
    """Whether `through` knows what is in a block: timm's plain pre-norm block, without gates."""
    if type(block) is not Block:
        return False
    return type(block.attn) is Attention and getattr(block.attn, "gate", None) is None


def through(
    blocks: Sequence[nn.Module], sequences: Sequence[Tensor], *, first_only: bool = False
) -> list[Tensor]:
    """Run sequences of several lengths through `packable` blocks together.

    Args:
        blocks: each as timm's `Block`.
        sequences: one [B_i, N_i, D] for each resolution.
        first_only: only the first token of each image is wanted. The last block then asks the
            others for keys and values alone.

    Returns:
        What `block(x)` after `block(x)` gives for each sequence by itself, or of that the first
        tokens, [B_i, 1, D]. With stochastic depth
        in train mode every sample still has a draw of its own, but the draws come in another
        order than those of separate passes.
    """
    shapes = [(len(x), x.shape[1]) for x in sequences]
    x = _joined([sequence.flatten(0, 1) for sequence in sequences])
    for i, block in enumerate(cast("Sequence[Any]", blocks), 1):
        last = first_only and i == len(blocks)
        y = block.ls1(_attended(block.attn, block.norm1(x), shapes, first_only=last))
        if last:
            x = _joined([part[:, 0] for part in unpack(x, shapes)])
            shapes = [(batch, 1) for batch, _ in shapes]
        x = x + _dropped(block.drop_path1, y, shapes)
        y = block.ls2(block.mlp(block.norm2(x)))
        x = x + _dropped(block.drop_path2, y, shapes)
    return unpack(x, shapes)


def unpack(x: Tensor, shapes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """[T, D] -> one [B_i, N_i, D] for each of the shapes; views of x."""
    parts = x.split([batch * length for batch, length in shapes])
    return [part.unflatten(0, shape) for part, shape in zip(parts, shapes, strict=True)]


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """The rows of all parts; of one part without the copy that `cat` makes and backward keeps."""
    return torch.cat(list(parts)) if len(parts) > 1 else parts[0]


def _attended(
    layer: Any, x: Tensor, shapes: Sequence[tuple[int, int]], *, first_only: bool
) -> Tensor:
    """[T, D] -> [T, D]: timm's `Attention`, among the tokens of each image.

    With `first_only` one row for each image, its first token's.
    """
    dropout = layer.attn_drop.p if layer.training else 0.0
    seen: list[Tensor] = []
    for part in unpack(layer.qkv(x), shapes):
        heads = part.unflatten(2, (3, layer.num_heads, layer.head_dim)).permute(2, 0, 3, 1, 4)
        query, key, value = heads.unbind(0)
        if first_only:
            query = query[:, :, :1]
        out = F.scaled_dot_product_attention(
            layer.q_norm(query), layer.k_norm(key), value, dropout_p=dropout
        )
        seen.append(out.transpose(1, 2).flatten(2).flatten(0, 1))
    return layer.proj_drop(layer.proj(layer.norm(_joined(seen))))


def _dropped(drop: nn.Module, x: Tensor, shapes: Sequence[tuple[int, int]]) -> Tensor:
    """[T, D] -> [T, D]: stochastic depth, one draw for all tokens of an image."""
    if not isinstance(drop, DropPath) or not (drop.training and drop.drop_prob):
        return x
    factors = [drop(x.new_ones(b, 1)).expand(b, n).flatten() for b, n in shapes]
    return x * torch.cat(factors)[:, None]
