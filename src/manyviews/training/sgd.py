"""torch's fused SGD, fed so that it does not copy every gradient of a channels-last weight."""

# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false
# The fused kernel has no public name but in torch's own optimiser.

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


class SGD(torch.optim.SGD):
    """SGD with momentum as torch's, and with its state, by one kernel that changes all in place.

    On a CPU that kernel walks through memory from front to back whatever the strides say, yet it
    first makes a contiguous copy of each gradient, which it never reads. Given views that say the
    order of the memory it has nothing to copy.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        *,
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay, fused=True)

    @torch.no_grad()
    def step(  # pyright: ignore[reportIncompatibleMethodOverride] - torch declares it twice
        self, closure: Callable[[], float] | None = None
    ) -> float | None:
        """Update every parameter that has a gradient; the state of the others does not move."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params: list[nn.Parameter] = [p for p in group["params"] if p.grad is not None]
            if params:
                self._update(params, group)
        return loss

    def _update(self, params: list[nn.Parameter], group: dict[str, Any]) -> None:
        grads = [p.grad for p in params if p.grad is not None]
        buffers = [self._buffer(p) for p in params] if group["momentum"] else []
        torch._fused_sgd_(
            [_in_order(p, like=p) for p in params],
            [_in_order(g, like=p) for g, p in zip(grads, params, strict=True)],
            [_in_order(b, like=p) for b, p in zip(buffers, params, strict=False)],
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
            lr=group["lr"],
            dampening=0.0,
            nesterov=False,
            maximize=False,
            is_first_step=False,  # a buffer of zeros does the same
        )

    def _buffer(self, p: nn.Parameter) -> Tensor:
        state = self.state[p]
        if state.get("momentum_buffer") is None:
            state["momentum_buffer"] = torch.zeros_like(p)
        return state["momentum_buffer"]


def _in_order(x: Tensor, *, like: Tensor) -> Tensor:
    """x, contiguous, with its dimensions in the order in which `like` lies in memory.

    A view, where x is laid out as `like` is.
    """
    if not like.is_contiguous():
        x = x.permute(sorted(range(like.ndim), key=like.stride, reverse=True))
    return x.contiguous()
