"""The weights of one encoder for another of the same architecture, perhaps fed another size."""

from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor

from manyviews.core import Encoder, UsageError
from manyviews.encoders.resample import Interpolation, resample
from manyviews.encoders.weights import heads_of, network

_TABLE = "pos_embed"


@dataclass(frozen=True)
class Moved:
    """Weights that fit an encoder, not yet in it.

    Attributes:
        state: for `network(encoder).load_state_dict`.
        resized: how the position table came to the encoder's grid, in words; empty where it fits.
    """

    state: dict[str, Tensor]
    resized: str = ""


def fitted(theirs: Encoder, ours: Encoder) -> Moved:
    """The weights of `theirs` as `ours` wants them; changes neither.

    A position table is brought to the grid of `ours` by its own rule (`ViT.interpolation`, else
    timm's). One that is no parameter to learn stays as it was computed for that grid.

    Raises:
        UsageError: another architecture: names, shapes, heads or strides differ.
    """
    there, here = network(theirs), network(ours)
    found, wanted = dict(there.state_dict()), here.state_dict()
    resized = _resize(theirs, ours, found)
    odd = [name for name in wanted if name not in found]
    if odd or len(found) != len(wanted):
        odd = odd or [name for name in found if name not in wanted]
        raise UsageError(f"{odd[0]} is in one of them only")
    for name, value in wanted.items():
        if found[name].shape != value.shape:
            raise UsageError(
                f"{name} is {_shape(found[name])} there and {_shape(value)} in this run"
            )
    if heads_of(there) != heads_of(here):
        raise UsageError(
            f"it has {heads_of(there)[1]} heads there, {heads_of(here)[1]} in this run"
        )
    steps = [_strides(net) for net in (there, here)]
    for name in steps[0]:
        if steps[0][name] != steps[1].get(name):
            raise UsageError(f"{name} has stride and padding {steps[0][name]} there alone")
    return Moved(found, resized)


def _strides(net: Any) -> dict[str, str]:
    """What shapes do not show of convolutions and pools: name -> stride, padding and kind."""
    return {
        name: f"{layer.stride} {layer.padding} {type(layer).__name__}"
        for name, layer in net.named_modules()
        if hasattr(layer, "stride") and hasattr(layer, "padding")
    }


def _resize(theirs: Encoder, ours: Encoder, found: dict[str, Tensor]) -> str:
    there, here = cast("Any", network(theirs)), cast("Any", network(ours))
    table, wanted = found.get(_TABLE), getattr(here, _TABLE, None)
    grids = [getattr(getattr(net, "patch_embed", None), "grid_size", None) for net in (there, here)]
    if table is None or not isinstance(wanted, Tensor) or table.shape == wanted.shape:
        return ""
    if None in grids or table.ndim != 3 or table.shape[2] != wanted.shape[2]:
        return ""
    old, new = (cast("tuple[int, int]", tuple(grid or ())) for grid in grids)
    said = f"{old[0]}x{old[1]} to {new[0]}x{new[1]}"
    if not wanted.requires_grad:
        found[_TABLE] = wanted.detach().clone()
        return f"fixed positions computed for {new[0]}x{new[1]}"
    prefix = table.shape[1] - old[0] * old[1]
    if prefix < 0 or prefix != wanted.shape[1] - new[0] * new[1]:
        return ""
    rule: Interpolation = getattr(ours, "interpolation", "timm")
    registers = getattr(here, "reg_token", None) is not None
    found[_TABLE] = resample(
        table.detach(), new, old=old, prefix=prefix, rule=rule, registers=registers
    )
    return f"positions resized from {said} as {rule} does"


def _shape(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "a number"
