"""Heads that carry an encoder's output into the space of a loss."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import nn

from manyviews.parts.norm import BatchNorm


def mlp(
    sizes: Sequence[int],
    *,
    norm: bool = True,
    bias: bool = True,
    bias_last: bool = True,
    last_norm: Literal["none", "full", "scale", "plain"] = "none",
    act: type[nn.Module] = nn.ReLU,
) -> nn.Sequential:
    """Linear layers of the given widths with norm and activation between them, [B, *] -> [B, *].

    `mlp([512, 2048, 128])` is Linear(512, 2048)-BN-ReLU-Linear(2048, 128). Papers differ in which
    layers have a bias and in what follows the last one; say it at each call.

    Args:
        sizes: widths, input first.
        norm: batch norm (over all ranks) before each activation.
        bias: the layers but the last have a bias.
        bias_last: the last layer has a bias.
        last_norm: batch norm after the last layer: "full" with factor and offset, "scale" with a
            factor only (SimCLR), "plain" with neither (SimSiam).
        act: class of the activation.
    """
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes[:-1]):
        layers.append(nn.Linear(before, after, bias=bias))
        if norm:
            layers.append(BatchNorm(after))
        layers.append(act())
    layers.append(nn.Linear(sizes[-2], sizes[-1], bias=bias_last))
    if last_norm != "none":
        shift = last_norm == "full"
        layers.append(BatchNorm(sizes[-1], scale=last_norm != "plain", shift=shift))
    return nn.Sequential(*layers)
