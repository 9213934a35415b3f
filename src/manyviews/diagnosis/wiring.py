"""Faults in how a method is put together, found on one batch before training begins."""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from manyviews.core import Batch, Clock, Method
from manyviews.core.nouns import SAMPLE, Noun
from manyviews.diagnosis.alarms import Alarm


def check(method: Method, batch: Batch, clock: Clock, *, noun: Noun = SAMPLE) -> list[Alarm]:
    """Look for faults, on a copy of the method; neither it nor random numbers change.

    What it holds of samples (`of_samples`) is not copied.

    - A momentum target that shares memory with what it follows, or that would be trained itself.
    - Trainable parameters that the loss does not reach.
    - Two views of a sample that are the same, or views that are blank.
    - A loss that is not finite, or without gradient.

    Args:
        method: in the mode in which it will be trained; its loss may ask every rank.
        batch: one micro-batch on the method's device.
        clock: of the first step.
        noun: what samples are called.

    Returns:
        What was found; empty where all is well.
    """
    found = [*_targets(method, clock), *_views(batch, clock, noun)]
    held = {  # read in `forward`, and too large for a copy
        id(buffer): buffer
        for module in method.modules()
        if getattr(module, "of_samples", False)
        for buffer in module.buffers(recurse=False)
    }
    devices = {p.device for p in method.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(devices, key=str)):
        return found + list(_gradients(copy.deepcopy(method, held), batch, clock))


def _alarm(name: str, clock: Clock, *, message: str, cause: str, advice: str, bad: bool) -> Alarm:
    light = "bad" if bad else "warn"
    return Alarm(name, cause, advice, message=message, light=light, step=clock.step)


def some_of_targets(method: Method, *, most: int = 4096) -> Tensor:
    """[M] float32: up to so many weights of the networks that follow slowly, from all their layers.

    Empty where a method has none.
    """
    weights = [p.detach() for _, network in _slow(method) for p in network.parameters()]
    each = max(1, most // max(1, len(weights)))
    some = [p.flatten()[:: max(1, p.numel() // each)][:each].float() for p in weights]
    return torch.cat(some) if some else torch.empty(0)


def _slow(method: Method) -> Iterator[tuple[str, nn.Module]]:
    """Networks that follow others slowly, by the names of what holds them."""
    for name, module in method.named_modules():
        network = getattr(module, "copy", None)
        if isinstance(network, nn.Module) and callable(getattr(module, "follow", None)):
            yield name, network


def _targets(method: Method, clock: Clock) -> Iterator[Alarm]:
    for name, network in _slow(method):
        inside = list(network.parameters())
        own = {id(p) for p in inside}
        if any(p.requires_grad for p in inside):
            yield _alarm(
                "trained_target",
                clock,
                message=f"the target network '{name}' has trainable parameters",
                cause="it was not copied by `parts.targets.EMA`, or was switched on again",
                advice="call requires_grad_(False) on it",
                bad=True,
            )
        outside = {_memory(p): n for n, p in method.named_parameters() if id(p) not in own}
        shared = [outside[_memory(p)] for p in inside if _memory(p) in outside]
        # where both are the very same module, named_parameters lists each parameter once
        twice = _listed_outside(method, f"{name}.copy", own)
        if shared or twice:
            first = (shared or twice)[0]
            yield _alarm(
                "shared_target",
                clock,
                message=(
                    f"the target network '{name}' shares memory with '{first}': it is no slow copy"
                ),
                cause="the target is the trained network itself, not a deep copy of it",
                advice="build it with copy.deepcopy, as `parts.targets.EMA` does",
                bad=True,
            )


def _listed_outside(method: Method, inside: str, own: set[int]) -> list[str]:
    every = method.named_parameters(remove_duplicate=False)
    return [n for n, p in every if id(p) in own and not n.startswith(f"{inside}.")]


def _memory(x: Tensor) -> int:
    return x.untyped_storage().data_ptr()


def _views(batch: Batch, clock: Clock, noun: Noun) -> Iterator[Alarm]:
    for name, views in batch.views.items():
        if not views.is_floating_point() or not views.numel():
            continue
        blank = views.flatten(2).std(dim=2, correction=0).amax(dim=1) < 1e-6
        if int(blank.sum()) * 2 > len(blank):
            yield _alarm(
                "blank_views",
                clock,
                message=f"{int(blank.sum())} of {len(blank)} {noun.many} have blank '{name}' views",
                cause=f"the {noun.many} are blank, or brightness or --data.std wipes them out",
                advice="`manyviews doctor` on the data; a lower --views.global.brightness",
                bad=True,
            )
        if views.shape[1] < 2:
            continue
        same = (views[:, 0] - views[:, 1]).flatten(1).abs().amax(dim=1) < 1e-6
        if int((same & ~blank).sum()) * 10 > 9 * len(same):
            yield _alarm(
                "identical_views",
                clock,
                message=f"the '{name}' views of one {noun.one} are identical",
                cause="all augmentations are off",
                advice=(
                    f"--views.{name}.scale 0.2 1, --views.{name}.flip 0.5, "
                    f"--views.{name}.jitter 0.8"
                ),
                bad=False,
            )


def _gradients(method: Method, batch: Batch, clock: Clock) -> Iterator[Alarm]:
    method.zero_grad(set_to_none=True)
    with torch.enable_grad():
        total = method(batch, clock).total
    if not torch.isfinite(total):
        yield _alarm(
            "loss_not_finite",
            clock,
            message=f"the first loss is {total.item()}",
            cause="NaN pixels, a --data.std of 0, or broken initial weights",
            advice="`manyviews doctor` on the data; --train.precision fp32",
            bad=True,
        )
        return
    if total.requires_grad:
        total.backward()
    dead = [n for n, p in method.named_parameters() if p.requires_grad and p.grad is None]
    if dead:
        more = f" and {len(dead) - 1} more" if len(dead) > 1 else ""
        yield _alarm(
            "no_gradient",
            clock,
            message=f"the loss does not reach the trainable parameter '{dead[0]}'{more}",
            cause="a detach, a part that the forward pass does not use, or a missing view",
            advice="use it in `forward`, or call requires_grad_(False) on it",
            bad=not total.requires_grad,
        )
