"""What convolutional networks have in common whose tokens are the places of their last map."""

import math
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from manyviews.core import Features, Hide, Unsupported


def places(shape: Sequence[int], patch: Sequence[int]) -> tuple[int, ...]:
    """The grid of the last map of views [C, *shape], where a place stands for `patch` of them."""
    return tuple(math.ceil(n / step) for n, step in zip(shape, patch, strict=True))


def clip_stem(channels: int, width: int, *, time: int) -> nn.Sequential:
    """Clips [B, C, T, S, S] to [B, W, T, S / 4, S / 4] by a convolution over 7 x 7 pixels.

    Args:
        channels: C.
        width: W.
        time: frames that the convolution spans, an odd number.
    """
    return nn.Sequential(
        nn.Conv3d(channels, width, (time, 7, 7), (1, 2, 2), (time // 2, 3, 3), bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(inplace=True),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
    )


def stage(
    block: Callable[..., nn.Module], wide: int, out: int, *, depth: int, stride: int
) -> nn.Sequential:
    """Residual blocks, of which the first goes from `wide` to `out` channels by a stride.

    Args:
        block: makes one, of channels in, channels out and `stride`.
        wide: channels that come in.
        out: channels that go out.
        depth: blocks.
        stride: of the first.
    """
    first = block(wide, out, stride=stride)
    return nn.Sequential(first, *(block(out, out, stride=1) for _ in range(depth - 1)))


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
