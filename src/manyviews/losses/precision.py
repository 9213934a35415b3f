"""Losses are computed in full precision, whatever the precision of the network."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar, cast

import torch
from torch import Tensor

from manyviews.core import wide

P = ParamSpec("P")
R = TypeVar("R")


def full_precision(loss: Callable[P, R]) -> Callable[P, R]:
    """Run a function without autocast and with its half-precision tensors widened to float32.

    float32 and float64 arguments stay as they are. At least one positional argument is a tensor.
    """

    @wraps(loss)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        device = next(x.device.type for x in args if isinstance(x, Tensor))
        wide = [_widened(x) for x in args]
        named = {name: _widened(x) for name, x in kwargs.items()}
        with torch.autocast(device, enabled=False):
            return cast("Callable[..., R]", loss)(*wide, **named)

    return wrapped


def _widened(x: object) -> object:
    return wide(x) if isinstance(x, Tensor) and x.is_floating_point() else x
