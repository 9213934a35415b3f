"""Images and clips as rows of patches, and which of them an encoder sees."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from manyviews.core import Encoder, UsageError


def patchify(views: Tensor, size: int | Sequence[int]) -> Tensor:
    """[B, C, *S] -> [B, N, P * C]: patches row by row, each in the order of its axes, then C.

    So it is row, column, C of an image [B, C, H, W], and time, row, column, C of a clip
    [B, C, T, H, W]. The channel is last, so official MAE decoders can be loaded
    (facebookresearch/mae models_mae.py; MCG-NJU/VideoMAE engine_for_pretraining.py).

    Args:
        views: images or clips.
        size: side of a patch, or its length along each axis.
    """
    b, channels, *sides = views.shape
    steps, axes = _steps(size, len(sides)), range(len(sides))
    cells = [n for side, step in zip(sides, steps, strict=True) for n in (side // step, step)]
    grid = views.reshape(b, channels, *cells)
    order = (0, *(2 * axis + 2 for axis in axes), *(2 * axis + 3 for axis in axes), 1)
    return grid.permute(order).reshape(b, -1, math.prod(steps) * channels)


def unpatchify(patches: Tensor, size: int | Sequence[int], *, grid: Sequence[int]) -> Tensor:
    """The inverse of `patchify`: [B, N, P * C] -> [B, C, *S], S = grid * size."""
    b, axes = len(patches), range(len(grid))
    steps = _steps(size, len(grid))
    x = patches.reshape(b, *grid, *steps, patches.shape[2] // math.prod(steps))
    order = [n for axis in axes for n in (axis + 1, axis + 1 + len(grid))]
    sides = [places * step for places, step in zip(grid, steps, strict=True)]
    return x.permute(0, 2 * len(grid) + 1, *order).reshape(b, -1, *sides)


def _steps(size: int | Sequence[int], axes: int) -> tuple[int, ...]:
    return (size,) * axes if isinstance(size, int) else tuple(size)


def patch_of(encoder: Encoder, method: str) -> tuple[int, ...]:
    """What an encoder's tokens stand for along each axis, in pixels or frames.

    Raises:
        UsageError: it has none.
    """
    if not encoder.patch:
        raise UsageError(
            f"{method} needs an encoder of patches; {type(encoder).__name__} has none. Use a ViT."
        )
    return encoder.patch


def square_patch(encoder: Encoder, method: str) -> int:
    """The side in pixels of an encoder's patches.

    Raises:
        UsageError: it has none, or none that are square.
    """
    if len(encoder.patch) != 2 or len(set(encoder.patch)) != 1:
        raise UsageError(
            f"{method} needs an encoder of square patches; {type(encoder).__name__} has "
            f"{encoder.patch or 'none'}. Use a ViT."
        )
    return encoder.patch[0]


def check_views(encoder: Encoder, images: Tensor, hidden: Tensor, method: str) -> None:
    """Hold views [B, C, *S] and masks [B, N] against what the encoder is fed.

    Raises:
        UsageError: they are of another size.
    """
    size = encoder.input.shape
    if images.shape[1:] != size or hidden.shape[1] != encoder.num_tokens:
        raise UsageError(
            f"{method} expects views of {size} and masks of {encoder.num_tokens} patches; got "
            f"{tuple(images.shape[1:])} and {hidden.shape[1]}. Leave out --views.global.size."
        )


def mask_token(dim: int) -> nn.Parameter:
    """What stands inside an encoder at hidden places, [D]: normal of deviation 0.02.

    One-dimensional, so that optimisers spare it from decay (microsoft/SimMIM optimizer.py).
    """
    return nn.Parameter(torch.randn(dim) * 0.02)


def take(x: Tensor, index: Tensor) -> Tensor:
    """Rows of x [B, N, D] at index [B, K] int64 -> [B, K, D]."""
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[-1]))


def visible(hidden: Tensor) -> Tensor:
    """[B, N] bool (True = hidden) -> [B, K] int64: the visible tokens of each row, ascending.

    Raises:
        UsageError: rows hide different numbers of tokens, or all of them.
    """
    seen = (~hidden).sum(dim=1)
    least, most = torch.stack(torch.aminmax(seen)).tolist()
    if least != most or least == 0:
        raise UsageError(
            f"The mask shows between {least} and {most} of {hidden.shape[1]} patches; "
            "every view must show the same number, at least 1. Set --views.mask.ratio."
        )
    return hidden.byte().argsort(dim=1, stable=True)[:, :least]


def places(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """[..., N] bool -> where they are, ascending, [..., L] int64, and which of those are real.

    L is the largest number of any row; shorter rows are filled up with places that are not chosen.
    """
    length = int(chosen.sum(dim=-1).max())
    where = chosen.byte().argsort(dim=-1, descending=True, stable=True)[..., :length]
    return where, chosen.gather(-1, where)
