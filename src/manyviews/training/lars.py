"""LARS and LARC: the two layer-wise optimisers of the literature, which are not the same.

Both scale each tensor's update by its weight norm over its gradient norm; they differ in the
denominator and in which tensors they touch. With a weight decay of 1e-4 they train differently.
"""
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false
# torch's own optimisers run on the _foreach functions; they have no public name.

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


class _Layerwise(torch.optim.Optimizer):
    """SGD with momentum on directions that a subclass scales.

    The learning rate is outside the buffer, or inside, where earlier directions keep the rate of
    their own step.

    The gradients are used up: they are turned into the directions in place, to save memory.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        *,
        lr: float,
        momentum: float,
        weight_decay: float,
        trust: float,
        rate_inside: bool = False,
    ) -> None:
        self._rate_inside = rate_inside
        super().__init__(
            params,
            {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust},
        )

    def _scale(self, weights: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> None:
        """Turn gradients into directions, in place."""
        raise NotImplementedError

    @torch.no_grad()
    def step(  # pyright: ignore[reportIncompatibleMethodOverride] - torch declares it twice
        self, closure: Callable[[], float] | None = None
    ) -> float | None:
        """Update every parameter that has a gradient; the state of the others does not move.

        Afterwards `p.grad` holds no gradient any more; clear it.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params: list[Tensor] = [p for p in group["params"] if p.grad is not None]
            if not params:
                continue
            grads = [p.grad for p in params if p.grad is not None]
            self._scale(params, grads, group)
            for p in params:
                if "momentum_buffer" not in self.state[p]:
                    self.state[p]["momentum_buffer"] = torch.zeros_like(p)
            buffers: list[Tensor] = [self.state[p]["momentum_buffer"] for p in params]
            torch._foreach_mul_(buffers, group["momentum"])
            inside = self._rate_inside
            torch._foreach_add_(buffers, grads, alpha=group["lr"] if inside else 1.0)
            torch._foreach_add_(params, buffers, alpha=-1.0 if inside else -group["lr"])
        return loss


class LARS(_Layerwise):
    """LARS with the norm of the sum, as SimCLR, BYOL, Barlow Twins and VICReg use it.

    With `rate_inside`, as SimCLR alone has it (google-research/simclr lars_optimizer.py,
    `classic_momentum`): buffer <- momentum * buffer + lr * d;  w <- w - buffer.

    For a tensor w of two or more dimensions with gradient g:
    d = g + decay * w;  d <- trust * |w| / |d| * d (unscaled where a norm is 0);
    buffer <- momentum * buffer + d;  w <- w - lr * buffer.
    Tensors of fewer dimensions skip the scaling; give them a group with weight_decay 0.

    Source: You et al. 2017 as in facebookresearch/barlowtwins main.py and facebookresearch/moco-v3
    moco/optimizer.py: no epsilon, trust coefficient 0.001.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        *,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
        rate_inside: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            weight_decay=weight_decay,
            trust=trust,
            rate_inside=rate_inside,
        )

    def _scale(self, weights: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> None:
        torch._foreach_add_(grads, weights, alpha=group["weight_decay"])
        scaled = [i for i, w in enumerate(weights) if w.ndim > 1]
        if not scaled:
            return
        chosen = [grads[i] for i in scaled]
        weight_norm = torch.stack(torch._foreach_norm([weights[i] for i in scaled]))
        norm = torch.stack(torch._foreach_norm(chosen))
        ratio = group["trust"] * weight_norm / norm
        ratio = torch.where((weight_norm > 0) & (norm > 0), ratio, 1.0)
        torch._foreach_mul_(chosen, list(ratio.unbind()))


class LARC(_Layerwise):
    """Layer-wise scaling with the sum of norms, on every tensor, as SwAV uses it.

    For every tensor w with gradient g, where neither norm is 0:
    d = trust * |w| / (|g| + decay * |w| + 1e-8) * (g + decay * w).
    Where a norm is 0 the gradient is taken as it is and nothing is decayed. Then SGD with momentum.

    Source: NVIDIA/apex parallel/LARC.py with clip=False around torch's SGD, trust 0.001 as in
    facebookresearch/swav main_swav.py.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        *,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
    ) -> None:
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay, trust=trust)

    def _scale(self, weights: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> None:
        decay = group["weight_decay"]
        weight_norm = torch.stack(torch._foreach_norm(weights))
        grad_norm = torch.stack(torch._foreach_norm(grads))
        both = (weight_norm > 0) & (grad_norm > 0)
        ratio = group["trust"] * weight_norm / (grad_norm + decay * weight_norm + 1e-8)
        decays = torch.where(both, decay, torch.zeros_like(ratio))
        torch._foreach_addcmul_(grads, weights, list(decays.unbind()))
        torch._foreach_mul_(grads, list(torch.where(both, ratio, 1.0).unbind()))
