"""How much encoder work a recipe needs: of a step, before the first epoch, and between epochs.

Work is counted, not timed: the floating-point operations of every call of an encoder, of a teacher
or of a moving average, a call with gradient counting three times (its backward costs twice its
forward), heads and decoders not counted.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules import module as hooks
from torch.utils.flop_counter import FlopCounterMode

from manyviews import recipes
from manyviews.core import Clock, Encoder
from manyviews.core.passes import passes
from manyviews.data import loader
from manyviews.data.sources import BUILTIN
from manyviews.runs.assemble import Assembly, assemble
from manyviews.runs.facts import facts
from manyviews.runs.settings import AnyRun
from manyviews.verbs.flags import settle

DATA = BUILTIN
NOTHING: Mapping[str, Any] = MappingProxyType({})
BATCH = 128
"""Samples in the step that is counted, at most; operations grow with them in proportion."""


@dataclass(frozen=True)
class Cost:
    """Operations of encoder passes.

    Attributes:
        step: of an optimiser step.
        epoch: of what comes between two epochs.
        once: of what comes before the first, more than that.
        batch: samples of a step.
        images: samples in the data.
    """

    step: float
    epoch: float
    once: float
    batch: int
    images: int

    def steps(self, budget: float) -> int:
        """How many steps the budget allows."""
        each = self.step + self.epoch * self.batch / self.images
        return max(1, round((budget - self.once) / each))

    def passes(self, steps: float) -> float:
        """Over the data, of so many steps."""
        return passes(steps, batch=self.batch, samples=self.images)

    def total(self, steps: float) -> float:
        """Operations of so many steps."""
        return self.once + (self.step + self.epoch * self.batch / self.images) * steps


def of_passes(unit: Cost, many: float) -> float:
    """The budget: operations of so many passes over the images."""
    return unit.total(many * unit.images / unit.batch)


def settled(name: str, given: Mapping[str, Any] = NOTHING, *, data: str = DATA) -> AnyRun:
    """A recipe's run on some data, with some settings changed."""
    return settle(recipes.RECIPES[name](facts(data, recipes.streams_of(name))), given)


def cost(name: str, given: Mapping[str, Any] = NOTHING, *, data: str = DATA) -> Cost:
    """Count a step of a recipe, and what it asks for before the first epoch and between epochs."""
    run = settled(name, given, data=data)
    size = run.data.batch_size
    count_of = min(BATCH, size)
    few = replace(run.data, batch_size=count_of, workers=0)
    assembly = assemble(replace(run, data=few, train=replace(run.train, accumulate=1)))
    batch, clock = one_batch(assembly, count_of), Clock(1, 1000)
    method = assembly.method.train()
    images, asked = len(assembly.source), list[float]()
    for _ in range(2):  # some fill a bank before the first epoch, and never embed again
        between = Between(assembly)
        with counted() as count, torch.no_grad():
            method.before_epoch(clock, between)
        asked.append(count[0] * images / between.seen if between.seen else 0.0)
    first, epoch = asked
    with counted() as count:
        method(batch, clock).total.backward()
    once = max(0.0, first - epoch)
    return Cost(count[0] * size / count_of, epoch, once, size, images)


def one_batch(assembly: Assembly, count: int) -> Any:
    raws = loader.batches(
        assembly.source,
        assembly.pipeline,
        seed=0,
        global_batch=count,
        start_step=0,
        stop_step=1,
        workers=0,
        on_bad=lambda _: None,
    )
    [raw] = next(iter(raws))
    return assembly.to_batch(raw)


class Between:
    """Stands for `embed_all`: embeds a batch each time and makes up the other rows."""

    def __init__(self, assembly: Assembly) -> None:
        self.assembly = assembly
        self.seen = 0

    def __call__(
        self, f: Callable[[Mapping[str, Tensor]], Tensor], *, share: bool = False
    ) -> Tensor:
        few = min(BATCH, len(self.assembly.source))
        _, views = self.assembly.look(range(few))
        made = f({name: view[:, 0] for name, view in views.items()}).float()
        self.seen = few  # of the rows of each pass: passes add up in the operations
        generator = torch.Generator().manual_seed(0)
        rows = torch.randn(len(self.assembly.source), made.shape[1], generator=generator)
        return made.std() * rows + made.mean()


@contextmanager
def counted() -> Iterator[list[float]]:
    """Adds up the operations of all calls of encoders; three times those with gradient."""
    total, open_modes = [0.0], list[tuple[Encoder, FlopCounterMode]]()

    def before(module: torch.nn.Module, inputs: object) -> None:
        if isinstance(module, Encoder) and not open_modes:
            mode = FlopCounterMode(display=False)
            mode.__enter__()
            open_modes.append((module, mode))

    def after(module: torch.nn.Module, inputs: object, outputs: object) -> None:
        if open_modes and open_modes[0][0] is module:
            mode = open_modes.pop()[1]
            mode.__exit__(None, None, None)
            learns = torch.is_grad_enabled() and any(p.requires_grad for p in module.parameters())
            total[0] += mode.get_total_flops() * (3 if learns else 1)

    handles = (
        hooks.register_module_forward_pre_hook(before),
        hooks.register_module_forward_hook(after),
    )
    try:
        yield total
    finally:
        for handle in handles:
            handle.remove()
