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


class Lift(nn.Module):
    """An MLP of one hidden layer beside a linear layer that begins near the identity.

    What it makes are scores' factors of places and of whole samples alike, [..., D] -> [..., P].

    Source: rdevon/DIM cortex_DIM/nn_modules/mi_networks.py (a norm inside and LayerNorm behind),
    Philip-Bachman/amdim-public model.py (batch norm behind).
    """

    def __init__(self, dim: int, out: int, *, norm: bool, last: Literal["layer", "batch"]) -> None:
        """Draw weights.

        Args:
            dim: D.
            out: P, of the hidden layer too.
            norm: batch norm before the activation.
            last: the norm behind the sum.
        """
        super().__init__()
        self.bent = mlp([dim, out, out], norm=norm, bias=False)
        self.straight = nn.Linear(dim, out, bias=False)
        if out >= dim:
            nn.init.uniform_(self.straight.weight, -0.01, 0.01)
            self.straight.weight.data.fill_diagonal_(1.0)
        self.norm = nn.LayerNorm(out) if last == "layer" else BatchNorm(out)

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., P]; batch norms take all leading axes as one."""
        rows = x.flatten(0, -2)
        return self.norm(self.bent(rows) + self.straight(rows)).unflatten(0, x.shape[:-1])


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
