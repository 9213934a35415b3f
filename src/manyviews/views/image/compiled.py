"""Machine code for loops that numpy would run one operation at a time."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numba

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function of arrays and numbers when it is first called; keep the code on disk.

    Arithmetic stays IEEE's, in the order that is written, so results are the same bits on every
    processor. The Python lock is released.
    """
    return _jit(function, fastmath=False)


def contracted(function: Callable[P, R]) -> Callable[P, R]:
    """The same, where a product and a sum may be rounded once: only for sums that are exact."""
    return _jit(function, fastmath={"contract"})


def _jit(function: Callable[P, R], *, fastmath: bool | set[str]) -> Callable[P, R]:
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": fastmath}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither this folder nor the user's can be written to
        return numba.njit(**options)(function)
