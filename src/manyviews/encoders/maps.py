"""What convolutional networks have in common whose tokens are the places of their last map."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from manyviews.core import Features, Hide, Unsupported


def places(shape: Sequence[int], patch: Sequence[int]) -> tuple[int, ...]:
    """The grid of the last map of views [C, *shape], where a place stands for `patch` of them."""
    return tuple(math.ceil(n / step) for n, step in zip(shape, patch, strict=True))


def begin(network: nn.Module) -> None:
    """Draw the weights of all convolutions as He et al. 2015 do, by what goes out."""
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def refuse_tokens(
    keep: Tensor | None, hide: Hide | None, blocks: int, *, name: str, of: str
) -> None:
    """Refuse what only transformers can do.

    Raises:
        Unsupported: keep, hide or blocks was asked for.
    """
    if keep is not None or hide is not None or blocks:
        raise Unsupported(f"{name} has no tokens to keep or hide. Choose a transformer for {of}.")


def features(last: Tensor) -> Features:
    """Of a last map [B, D, ...]: its largest values [B, D], and its places [B, N, D]."""
    return Features(last.amax(tuple(range(2, last.ndim))), last.flatten(2).transpose(1, 2))
