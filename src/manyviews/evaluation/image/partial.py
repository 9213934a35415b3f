"""Fine-tuning of a part of an encoder: what trains, how fast, and in which mode."""

from typing import Any

from torch import nn

from manyviews.core import Encoder, UsageError
from manyviews.core.depth import depth_scales, layers_of

_MLP = {"norm2", "mlp", "ls2"}
"""The parts of a transformer's block that make its second half, as timm calls them."""


def thaw(encoder: Encoder, blocks: float) -> None:
    """Let the last blocks of an encoder train, and nothing before them.

    Args:
        encoder: changed in place: `requires_grad` of its parameters.
        blocks: how many (`Encoder.by_depth`); below 0 all of the encoder, stem included; 0 none
            of it. What comes after the blocks trains with the last of them. 0.5 is the second half
            of a transformer's last block, its MLP (He et al. 2022, MAE, figure 9).

    Raises:
        UsageError: the encoder has fewer blocks or does not say, or halves are asked of what has
            none.
    """
    if blocks <= 0:
        encoder.requires_grad_(blocks < 0)
        return
    layers = layers_of(encoder, "Use -1 to train all of it, or 0.")
    count = len(layers) - 1
    if blocks > count or blocks not in (0.5, round(blocks)):
        raise UsageError(
            f"Fine-tuning of the last {blocks:g} blocks was asked of an encoder that has "
            f"{count}. Use -1 for all of it, 0.5, or a whole number up to {count}."
        )
    still = {id(p) for layer in layers[: len(layers) - int(blocks)] for p in layer}
    if blocks == 0.5:
        still -= _second_half(encoder, {id(p) for p in layers[-1]})
    for p in encoder.parameters():
        p.requires_grad_(id(p) not in still)


def set_modes(module: nn.Module, *, training: bool = True) -> None:
    """Training mode where something trains, evaluation mode in frozen parts.

    So batch norm keeps its statistics and dropout drops nothing where nothing learns. A part
    without parameters follows the one around it.

    Args:
        module: changed in place, with all of its parts.
        training: the mode of parts that train.
    """
    parameters = list(module.parameters())
    module.training = training and (not parameters or any(p.requires_grad for p in parameters))
    for child in module.children():
        set_modes(child, training=module.training)


def param_groups(
    encoder: Encoder, head: nn.Module, *, layer_decay: float, weight_decay: float
) -> list[dict[str, Any]]:
    """What trains, for an optimiser: "params", "lr_scale", "weight_decay" of each group.

    Vectors and scalars, and what a timm network lists in `no_weight_decay` (class token,
    positions), are not decayed.

    Raises:
        UsageError: the encoder does not say which layers it has, and they should differ.
    """
    scales = depth_scales(encoder, layer_decay, "Set --finetune.layer-decay 1.")
    inner: Any = getattr(encoder, "model", None)
    spared = {f"model.{name}" for name in getattr(inner, "no_weight_decay", set[str])()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, p in encoder.named_parameters():
        if p.requires_grad:
            decay = 0.0 if p.ndim < 2 or name in spared else weight_decay
            groups.setdefault((scales.get(id(p), 1.0), decay), []).append(p)
    for p in head.parameters():
        groups.setdefault((1.0, 0.0 if p.ndim < 2 else weight_decay), []).append(p)
    return [
        {"params": params, "lr_scale": scale, "weight_decay": decay}
        for (scale, decay), params in groups.items()
    ]


def _second_half(encoder: Encoder, last: set[int]) -> set[int]:
    """The parameters, by `id`, in the MLP of the last block, which has the parameters `last`."""
    inside = {
        id(p): set(name.split(".")) for name, p in encoder.named_parameters() if id(p) in last
    }
    half = {key for key, parts in inside.items() if _MLP & parts}
    if not any("mlp" in parts for parts in inside.values()):
        raise UsageError(
            f"{type(encoder).__name__} has no half blocks: its last block has no part mlp. "
            "Use a whole number of blocks."
        )
    return half
