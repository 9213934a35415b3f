"""In which precision a step computes."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from manyviews.core import UsageError

_SHORT = 256
"""Keys up to which the gradient of attention is faster in float32 on a CPU; bench/attention.py."""
_ATTENTION: Callable[..., Tensor] = F.scaled_dot_product_attention


def autocast_dtype(
    precision: Literal["auto", "bf16", "fp32"], where: torch.device
) -> torch.dtype | None:
    """torch.bfloat16, or None for plain fp32. "auto" is bf16 where the hardware computes it.

    Raises:
        UsageError: bf16 is asked of a GPU that lacks it.
    """
    native = (
        torch.cuda.is_bf16_supported(including_emulation=False)
        if where.type == "cuda"
        else bool(_cpu_flags() & {"amx_bf16", "avx512_bf16", "bf16"})
    )
    if precision == "bf16" and where.type == "cuda" and not native:
        raise UsageError("This GPU does not compute bf16. Set --train.precision fp32.")
    return torch.bfloat16 if precision == "bf16" or (precision == "auto" and native) else None


@contextmanager
def mixed(where: torch.device, dtype: torch.dtype | None) -> Generator[None]:
    """For the forward pass of a step: autocast, or nothing where dtype is None."""
    if dtype is None:
        yield
        return
    with torch.autocast(where.type, dtype=dtype):
        if where.type != "cpu":
            yield
            return
        with _WideAttention():
            yield


class _WideAttention(TorchFunctionMode):
    """Short attention with a gradient in float32, all else as it was.

    On a CPU torch takes 1.2 to 4 times as long for the gradient of attention in bfloat16 as in
    float32 as long as sequences are short. What needs no gradient is as fast either way.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is _ATTENTION and torch.is_grad_enabled():
            return _in_float32(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _in_float32(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    *rest: Any,
    **more: Any,
) -> Tensor:
    """Of float32 or narrower; in bfloat16 again, as autocast would give it."""
    learns = any(x.requires_grad for x in (query, key, value))
    if not learns or key.shape[-2] > _SHORT or query.dtype == torch.float64:
        return _ATTENTION(query, key, value, attn_mask, *rest, **more)
    if attn_mask is not None and attn_mask.is_floating_point():
        attn_mask = attn_mask.float()
    with torch.autocast("cpu", enabled=False):
        wide = (x.float() for x in (query, key, value))
        return _ATTENTION(*wide, attn_mask, *rest, **more).to(torch.bfloat16)


def _cpu_flags(path: Path = Path("/proc/cpuinfo")) -> set[str]:
    """What Linux says the processor can do; empty on other systems."""
    if not path.exists():
        return set()
    lines = path.read_text().splitlines()
    found = [line for line in lines if line.startswith(("flags", "Features"))]
    return set(found[0].partition(":")[2].split()) if found else set()
