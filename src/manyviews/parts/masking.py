"""Images and clips as rows of patches, and which of them an encoder sees."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from manyviews.core import Encoder, UsageError
from manyviews.parts.counted import shuffles


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


def kept_blocks(
    index: Tensor,
    *,
    grid: tuple[int, int],
    share: float,
    extra: float,
    side: int,
    step: int,
    branch: int = 0,
) -> Tensor:
    """Squares around random places show, made up by single patches to the same number everywhere.

    As many squares as would show `share + extra` of the patches if they did not overlap; a square
    at the edge lies inside by as much as fits. What is too much of their patches is left out at
    random, what is too little comes from the others. A function of the sample and the step.

    Args:
        index: [B] int64, the samples.
        grid: rows and columns of patches.
        share: of the patches that show.
        extra: beyond it, for what overlaps.
        side: of a square, in patches.
        step: of the optimiser.
        branch: tells several draws of one step apart.

    Returns:
        [B, K] int64, ascending, K the share of all, at least 1.

    Source: Chen et al. 2024 (EAT), after Baevski et al. 2023 (data2vec 2.0);
    cwx-worst-one/EAT utils/data_utils.py, compute_block_mask_2d.
    """
    rows, columns = grid
    places = rows * columns
    squares = max(1, int(places * (share + extra) / side**2))
    drawn = shuffles(index, count=squares + places, step=step, branch=branch)
    centre, order = drawn[:, :squares] % places, drawn[:, squares:]
    around = torch.arange(side, device=index.device) - side // 2
    row = (centre[..., None] // columns + around).clamp(0, rows - 1)
    column = (centre[..., None] % columns + around).clamp(0, columns - 1)
    inside = (row[..., :, None] * columns + column[..., None, :]).flatten(1)
    painted = torch.zeros_like(order).scatter(1, inside, 1)
    first = (painted * 2**62 + order).argsort(dim=1, descending=True)
    return first[:, : max(1, int(places * share + 1e-9))].sort(dim=1).values
