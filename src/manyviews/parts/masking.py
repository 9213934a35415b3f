"""Images as rows of patches, and which of them an encoder sees."""

import torch
from torch import Tensor, nn

from manyviews.core import Encoder, UsageError


def patchify(images: Tensor, size: int) -> Tensor:
    """[B, C, H, W] -> [B, N, size*size*C]: patches row by row, each in the order row, column, C.

    The channel is last, so official MAE decoders can be loaded
    (facebookresearch/mae models_mae.py).
    """
    b, c, h, w = images.shape
    grid = images.reshape(b, c, h // size, size, w // size, size)
    return grid.permute(0, 2, 4, 3, 5, 1).reshape(b, -1, size * size * c)


def unpatchify(patches: Tensor, size: int, *, grid: tuple[int, int]) -> Tensor:
    """The inverse of `patchify`: [B, N, size*size*C] -> [B, C, H, W], H, W = grid * size."""
    b, _, values = patches.shape
    rows, columns = grid
    x = patches.reshape(b, rows, columns, size, size, values // size**2)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(b, -1, rows * size, columns * size)


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
    """Hold views [B, C, H, W] and masks [B, N] against what the encoder is fed.

    Raises:
        UsageError: they are of another size.
    """
    size = encoder.input.shape
    if images.shape[1:] != size or hidden.shape[1] != encoder.num_tokens:
        raise UsageError(
            f"{method} expects images of {size} and masks of {encoder.num_tokens} patches; got "
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
