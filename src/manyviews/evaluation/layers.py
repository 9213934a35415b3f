"""An encoder from its input to its output: which layers train, how fast, and in which mode."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from torch import nn

from manyviews.core import Encoder, UsageError

_BODIES = ("blocks", "stages", "layers")
_STAGE = re.compile(r"(layer|s)\d+")


@dataclass(frozen=True)
class Layers:
    """An encoder's parameters by depth.

    Attributes:
        of: parameter name -> 0 for the stem (patch embedding, positions, class token), 1 to
            `count` for the blocks, `count` + 1 for what comes after them (the final norm).
        count: blocks of a ViT, stages of most other networks.
    """

    of: Mapping[str, int]
    count: int

    def scale(self, name: str, decay: float) -> float:
        """The factor on one parameter's learning rate: decay^(count + 1 - its layer).

        What comes after the blocks, and the classifier, have 1. Source: Bao et al. 2022 (BEiT);
        facebookresearch/mae util/lr_decay.py.
        """
        return decay ** (self.count + 1 - self.of[name])


def layers(encoder: Encoder) -> Layers:
    """Find the blocks of an encoder.

    They are the members of a child called `blocks`, `stages` or `layers`, or the children called
    `layer1`, `layer2`, ... or `s1`, `s2`, ... Where there are none they are timm's coarse groups
    (`group_matcher`), the first of which is the stem; and where the network has no such thing,
    its children with parameters, one by one.
    """
    inner: object = getattr(encoder, "model", None)
    network = inner if isinstance(inner, nn.Module) else encoder
    found = _by_name(network) or _by_timm(network) or _by_child(network)
    prefix = "" if network is encoder else "model."
    of = {name: 0 for name, _ in encoder.named_parameters()}
    return Layers(of | {prefix + name: layer for name, layer in found.of.items()}, found.count)


def thaw(encoder: Encoder, blocks: float) -> None:
    """Let the last blocks of an encoder train, and nothing before them.

    Args:
        encoder: changed in place: `requires_grad` of its parameters.
        blocks: how many; below 0 all of the encoder, stem included; 0 none of it. What comes after
            the blocks trains with the last of them. 0.5 is the second half of a transformer's
            last block, its MLP (He et al. 2022, MAE, figure 9).

    Raises:
        UsageError: the encoder has fewer blocks, or halves are asked of what has none.
    """
    found = layers(encoder)
    if blocks > found.count or blocks not in (0.5, round(blocks)):
        raise UsageError(
            f"Fine-tuning of the last {blocks:g} blocks was asked of an encoder that has "
            f"{found.count}. Use -1 for all of it, 0.5, or a whole number up to {found.count}."
        )
    half = _halves(encoder, found) if blocks == 0.5 else set[str]()
    first = found.count + 1 - int(blocks)
    for name, parameter in encoder.named_parameters():
        last = blocks > 0 and found.of[name] >= (first if not half else found.count + 1)
        parameter.requires_grad_(blocks < 0 or last or name in half)


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
    """
    found = layers(encoder)
    inner: Any = getattr(encoder, "model", None)
    spared = {f"model.{name}" for name in getattr(inner, "no_weight_decay", set[str])()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, p in encoder.named_parameters():
        if p.requires_grad:
            decay = 0.0 if p.ndim < 2 or name in spared else weight_decay
            groups.setdefault((found.scale(name, layer_decay), decay), []).append(p)
    for p in head.parameters():
        groups.setdefault((1.0, 0.0 if p.ndim < 2 else weight_decay), []).append(p)
    return [
        {"params": params, "lr_scale": scale, "weight_decay": decay}
        for (scale, decay), params in groups.items()
    ]


def _by_name(network: nn.Module) -> Layers | None:
    children = [name for name, _ in network.named_children()]
    bodies = [name for name in children if _STAGE.fullmatch(name)]
    for name in children:
        if not bodies and name in _BODIES:
            bodies = [f"{name}.{i}" for i, _ in network.get_submodule(name).named_children()]
    if not bodies:
        return None
    last = children.index(bodies[-1].partition(".")[0])
    of: dict[str, int] = {}
    for name, _ in network.named_parameters():
        inside = [i for i, body in enumerate(bodies, 1) if name.startswith(body + ".")]
        after = name.partition(".")[0] in children[last + 1 :]
        of[name] = inside[0] if inside else (len(bodies) + 1) * after
    return Layers(of, len(bodies))


def _by_timm(network: nn.Module) -> Layers | None:
    if not hasattr(network, "group_matcher"):
        return None
    from timm.models import group_parameters  # two seconds

    matcher = cast("Any", network).group_matcher(coarse=True)
    of = cast("dict[str, int]", group_parameters(network, matcher, reverse=True))
    return Layers(of, max(of.values(), default=0))


def _by_child(network: nn.Module) -> Layers:
    trained = [name for name, child in network.named_children() if list(child.parameters())]
    of = {
        f"{child}.{name}": i
        for i, child in enumerate(trained, 1)
        for name, _ in network.get_submodule(child).named_parameters()
    }
    return Layers(of, len(trained))


def _halves(encoder: Encoder, found: Layers) -> set[str]:
    """Names of the parameters in the MLP of the last block, as timm's transformers call them."""
    inside = rf"(?:model\.)?blocks\.{found.count - 1}\.(?:norm2|mlp|ls2)\."
    half = {name for name in found.of if re.match(inside, name)}
    if not half:
        raise UsageError(
            f"{type(encoder).__name__} has no half blocks: its last block has no part mlp. "
            "Use a whole number of blocks."
        )
    return half
