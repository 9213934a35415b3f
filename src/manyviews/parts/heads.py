"""Heads that carry an encoder's output into the space of a loss."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

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


def apart(head: nn.Module, x: Tensor) -> Tensor:
    """Apply a head to each of several views by itself, [B, V, D] -> [B, V, P].

    Only batch norm tells that from one call for all views, so other layers take all of them in
    one product. The gradient of a weight is then one product too, not one for each view.

    Args:
        head: one layer, or a sequence of them.
        x: [B, V, D], fastest where it is the transpose of a contiguous [V, B, D].
    """
    views = x.shape[1]
    x = x.transpose(0, 1).flatten(0, 1)  # view by view
    for layer in head if isinstance(head, nn.Sequential) else [head]:
        if any(isinstance(module, BatchNorm) for module in layer.modules()):
            x = torch.cat([layer(view) for view in x.chunk(views)])
        else:
            x = layer(x)
    return x.unflatten(0, (views, -1)).transpose(0, 1)
