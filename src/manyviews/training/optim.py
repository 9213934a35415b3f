"""From a method's parameter groups and an `Optim` to an optimiser whose rates follow the clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor, nn

from manyviews.core import Clock, Failure, Group, Method, UsageError
from manyviews.core.depth import depth_scales
from manyviews.core.schedules import Cosine, WarmupCosine
from manyviews.training.freeze import encoders_in
from manyviews.training.lars import LARC, LARS
from manyviews.training.settings import Optim


@dataclass(frozen=True)
class Rates:
    """What the schedules say for one step: learning rate of an ordinary group, weight decay."""

    lr: float
    weight_decay: float


@dataclass(frozen=True)
class _Rule:
    """How the clock sets one parameter group of the optimiser.

    Attributes:
        peak: learning rate after warm-up.
        fixed_lr: always the peak.
        decay: whether weight decay applies.
        frozen_until: share of training before which gradients are dropped.
    """

    peak: float
    fixed_lr: bool
    decay: bool
    frozen_until: float


class Updates:
    """An optimiser with the schedules, the freezing and the clipping around it.

    Attributes:
        optimizer: torch's object; its state is what a checkpoint keeps.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        rules: Sequence[_Rule],
        config: Optim,
        *,
        peak: float,
    ) -> None:
        self.optimizer = optimizer
        self._rules = rules
        self._config = config
        self._peak = peak
        self._shape = WarmupCosine(
            peak=1.0,
            end=config.lr_end,
            warmup=config.warmup,
            start=config.lr_start,
            by_epoch=config.by_epoch,
        )
        end = config.weight_decay_end
        self._decay = Cosine(config.weight_decay, config.weight_decay if end < 0 else end)

    def set_rates(self, clock: Clock) -> Rates:
        """Write the rates for the step that begins at `clock` into the optimiser's groups."""
        factor, decay = self._shape.at(clock), self._decay.at(clock)
        for group, rule in zip(self.optimizer.param_groups, self._rules, strict=True):
            group["lr"] = rule.peak if rule.fixed_lr else rule.peak * factor
            group["weight_decay"] = decay if rule.decay else 0.0
        return Rates(lr=self._peak * factor, weight_decay=decay)

    def freeze(self, clock: Clock) -> None:
        """Drop the gradients of frozen groups, so that neither weights nor state move."""
        for group, rule in zip(self.optimizer.param_groups, self._rules, strict=True):
            if clock.progress < rule.frozen_until:
                for p in group["params"]:
                    p.grad = None

    def grad_norm(self) -> Tensor:
        """Scalar float: the norm of all gradients together; not finite if any of them is not."""
        grads = self._grads()
        if not grads:
            return torch.zeros(())
        return nn.utils.get_total_norm(grads)

    def apply(self, norm: Tensor) -> None:
        """Clip and update. `norm` is what `grad_norm` gave for these gradients."""
        limit = self._config.clip
        if limit > 0 and self._config.clip_each:
            clip_each(self._grads(), limit)
        elif limit > 0:
            nn.utils.clip_grads_with_norm_(self._params(), limit, norm)
        self.optimizer.step()

    def clear(self) -> None:
        """Forget the gradients."""
        self.optimizer.zero_grad(set_to_none=True)

    def _params(self) -> list[nn.Parameter]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def _grads(self) -> list[Tensor]:
        return [p.grad for p in self._params() if p.grad is not None]


def build(method: Method, config: Optim, batch_size: int) -> Updates:
    """The optimiser that `config` describes, over the method's groups.

    Args:
        method: its `param_groups` must hold every trainable parameter exactly once.
        config: names, rates, schedules.
        batch_size: images per optimiser step over all ranks; scales the learning rate.

    Raises:
        UsageError: `lr_1d` is set for an optimiser other than lars.
        Failure: a trainable parameter is in no group, or in two, or has gaps in memory.
    """
    if config.lr_1d >= 0 and config.name not in ("lars", "lars-classic"):
        raise UsageError(
            f"optim.lr_1d {config.lr_1d} is only for lars, but optim.name is {config.name}. "
            "Set --optim.lr-1d -1."
        )
    groups = method.param_groups()
    _check_cover(method, groups)
    scales = dict[int, float]()
    for encoder in encoders_in(method):
        scales |= depth_scales(encoder, config.layer_decay, "Set --optim.layer-decay 1.")
    scale = batch_size / config.lr_per if config.lr_per else 1.0
    peak = config.lr * scale
    peak_1d = config.lr_1d * scale if config.lr_1d >= 0 else peak
    params: list[dict[str, list[nn.Parameter]]] = []
    rules: list[_Rule] = []
    for group in groups:
        for flat, depth in product(
            (False, True), dict.fromkeys(scales.get(id(p), 1.0) for p in group.params)
        ):
            chosen = [
                p for p in group.params if (p.ndim < 2) == flat and scales.get(id(p), 1.0) == depth
            ]
            if not chosen:
                continue
            params.append({"params": chosen})
            rules.append(
                _Rule(
                    peak=(peak_1d if flat else peak) * group.lr_scale * depth,
                    fixed_lr=group.fixed_lr,
                    decay=group.decay and (config.decay_all or not flat),
                    frozen_until=group.frozen_until,
                )
            )
    optimizer = _make(params, config)
    _make_state(optimizer)
    return Updates(optimizer, rules, config, peak=peak)


def clip_each(grads: Sequence[Tensor], limit: float) -> None:
    """Scale each tensor whose norm exceeds `limit` down to it, in place (DINO utils.py)."""
    for grad in grads:
        grad.mul_((limit / (grad.norm() + 1e-6)).clamp(max=1.0))


def _make(params: list[dict[str, list[nn.Parameter]]], config: Optim) -> torch.optim.Optimizer:
    match config.name:
        case "sgd":
            return torch.optim.SGD(params, lr=0.0, momentum=config.momentum, fused=True)
        case "adamw":
            return torch.optim.AdamW(params, lr=0.0, betas=config.betas, fused=True)
        case "adam":
            return torch.optim.Adam(params, lr=0.0, betas=config.betas, fused=True)
        case "lars":
            return LARS(params, lr=0.0, momentum=config.momentum)
        case "lars-classic":
            return LARS(params, lr=0.0, momentum=config.momentum, rate_inside=True)
        case "larc":
            return LARC(params, lr=0.0, momentum=config.momentum)


def _make_state(optimizer: torch.optim.Optimizer) -> None:
    """Make the optimiser's state, which is zeros before the first step, by a step of no length.

    It lives as long as the training. Made during the first step it would lie among activations,
    and malloc could not join what they leave behind (docs/performance.md, memory of steps).
    """
    for group in optimizer.param_groups:
        for p in group["params"]:
            p.grad = torch.zeros_like(p)
    optimizer.step()  # learning rates are 0 so far
    optimizer.zero_grad()
    for state in optimizer.state.values():
        if "step" in state:
            state["step"].zero_()


def _check_cover(method: Method, groups: Sequence[Group]) -> None:
    names = {id(p): name for name, p in method.named_parameters() if p.requires_grad}
    listed = [id(p) for group in groups for p in group.params]
    doubled = [
        names.get(i, "a parameter that does not train") for i in listed if listed.count(i) > 1
    ]
    missing = [name for i, name in names.items() if i not in set(listed)]
    if missing or doubled:
        kind = type(method).__name__
        fault = f"leaves out {missing[0]}" if missing else f"lists {doubled[0]} twice"
        raise Failure(f"{kind}.param_groups() {fault}. List every trainable parameter once.")
    for p in (p for group in groups for p in group.params):
        if torch.empty_like(p).stride() != p.stride():
            raise Failure(
                f"{names[id(p)]} has gaps in memory: shape {tuple(p.shape)}, strides {p.stride()}. "
                "A fused optimiser would write into them; make it of a contiguous copy."
            )
