"""What of a method is taken from another as a whole, or left."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from manyviews.core import Encoder, Method


@dataclass(frozen=True)
class Unit:
    """What of a method is taken as a whole or left: a head, a memory, a partition.

    Attributes:
        tensors: name -> persistent tensor.
        learns: whether any of them is a parameter.
        of_samples: whether they mean nothing on other data.
    """

    tensors: dict[str, Tensor]
    learns: bool
    of_samples: bool


def units(method: Method) -> dict[str, Unit]:
    """By its place: every child, encoders apart, of the method and of what holds an encoder."""
    encoders = [path for path, each in method.named_modules() if isinstance(each, Encoder)]
    above = {"", *(p[: m.start()] for p in encoders for m in re.finditer(r"\.", p))}
    found: dict[str, Unit] = {}
    for path, module in method.named_modules():
        if path in encoders or (path.rpartition(".")[0] not in above and path):
            continue
        deep = path not in above
        tensors = module.state_dict(keep_vars=True) if deep else _own(module)
        inside = list(module.modules()) if deep else [module]
        if tensors:
            found[path or "the method"] = Unit(
                tensors,
                any(isinstance(tensor, nn.Parameter) for tensor in tensors.values()),
                any(getattr(each, "of_samples", False) for each in inside),
            )
    return found


def differs(own: Unit, other: Unit | None, *, same_data: bool) -> str:
    """Why it cannot be taken from the other; "" where it can."""
    if other is None:
        return "not in the start"
    if other.of_samples and not same_data:
        return "of the samples of other data"
    for name, value in own.tensors.items():
        if name in other.tensors and value.shape != other.tensors[name].shape:
            shapes = (other.tensors[name].shape, value.shape)
            there, here = ("x".join(map(str, shape)) for shape in shapes)
            return f"{name} is {there} there and {here} here"
    if other.tensors.keys() != own.tensors.keys():
        return "made up in another way there"
    return ""


@torch.no_grad()
def put(live: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Into tensors of these names."""
    for name, value in state.items():
        live[name].copy_(value)


def _own(module: nn.Module) -> dict[str, Tensor]:
    """A module's own persistent tensors."""
    fleeting = module._non_persistent_buffers_set  # pyright: ignore[reportPrivateUsage] - it has no public name
    found: dict[str, Tensor] = dict(module.named_parameters(recurse=False))
    buffers = module.named_buffers(recurse=False)
    return found | {name: value for name, value in buffers if name not in fleeting}
