"""`manyviews doctor --bench`: what bounds the training of a recipe on this machine.

Everything is measured by the code that trains: its workers, its views, its optimiser step. Where
a step would take long the batch is made smaller, so that all of it takes less than a minute.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import torch

from manyviews.core import Batch, Clock
from manyviews.core.in_words import InWords
from manyviews.core.progress import phase
from manyviews.core.settings import parts
from manyviews.data import advice, loader, packet
from manyviews.data import workers as processes
from manyviews.runs import budget
from manyviews.runs.assemble import Assembly, assemble
from manyviews.runs.settings import AnyRun
from manyviews.training import precision
from manyviews.training.optim import Updates, build

SECONDS = 4.0
"""Of each of the five measurements, about; the last may take three times as long."""

_STEP = 1.0
"""Seconds that a step may take; a batch that takes longer is halved."""
_FEW = 16
_WARM = 3
_BAR = 40
_MUCH = 0.1
"""Share of the time waiting for data from which on data is what bounds."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """How fast one part works by itself: its name, what is measured, samples/s (a median)."""

    name: str
    what: str
    images_per_second: float


@dataclass(frozen=True, kw_only=True)
class Bench(InWords):
    """What bounds this machine.

    Attributes:
        data, recipe: what was to be trained.
        images: in the data.
        encoder: its name.
        fed: what they are fed, in words.
        device: where steps run.
        cores: that this process may use.
        workers: processes that make batches.
        batch: images in each step that was measured.
        batch_size: images in each step of the run.
        views: of each image.
        stages: decode and views on one core, data (all workers), copy, step, and all together.
        waits: share of the time in which all together waits for data.
        bound: which of decode, views, copy and step is the bottleneck.
        budget: what the run's duration buys at that speed, a line each.
        advice: what to change.
    """

    data: str
    recipe: str
    images: int
    encoder: str
    fed: str
    device: str
    cores: int
    workers: int
    batch: int
    batch_size: int
    views: int
    stages: list[Stage]
    waits: float
    bound: str
    advice: list[str]
    budget: list[str] = field(default_factory=list[str])

    def lines(self) -> list[str]:
        """For people: time an image as a bar, the longest of the parts being the bottleneck."""
        batch = f"batch {self.batch}"
        if self.batch != self.batch_size:
            batch += f" (the run has {self.batch_size}, too slow to measure)"
        said = [
            f"{self.recipe} on {self.data}: {self.images:,} samples, {self.views} views each, "
            f"{self.encoder} on {self.fed}, {batch}, {self.device}, {self.cores} cores",
            "",
            f"{'':<26}{'samples/s':>10}{'ms/sample':>10}",
        ]
        longest = max(1 / stage.images_per_second for stage in self.stages)
        for stage in self.stages:
            each = 1 / stage.images_per_second
            picture = "#" * round(_BAR * each / longest)
            row = (
                f"{stage.what:<26}{stage.images_per_second:>10,.0f}{1000 * each:>10.3f}  {picture}"
            )
            said.append(row.rstrip())
        said += ["", f"waits for data {self.waits:.0%} of the time; bound by: {self.bound}"]
        return [*said, *self.advice, *self.budget]


def bench(run: AnyRun, *, seconds: float = SECONDS) -> Bench:
    """Measure a run's parts one by one and together; nothing is written.

    Args:
        run: complete settings.
        seconds: of each measurement, about.

    Raises:
        UsageError: the run or its data cannot be used.
    """
    with phase("measuring, about a minute"):
        return _benched(run, seconds=seconds)


def _benched(run: AnyRun, *, seconds: float) -> Bench:
    assembly = assemble(run)
    updates = build(assembly.method, assembly.run.optim, run.data.batch_size)
    batch = _batch(assembly, updates, seconds=seconds / 4)
    data, train = assembly.run.data, assembly.run.train
    smaller = replace(
        assembly.run,
        data=replace(data, batch_size=batch),
        train=replace(train, accumulate=1),
    )
    assembly = replace(assembly, run=smaller, spent=loader.Spent())
    workers = processes.count(data.workers, in_memory=bool(assembly.source.stack))
    views = sum(layout.count for layout in assembly.pipeline.makes.values())

    alone, spent = loader.Spent(), loader.Spent()
    first = _delivered(assembly, workers=1, seconds=seconds, spent=alone)
    made = _delivered(assembly, workers=workers, seconds=seconds, spent=spent)
    raw = first.raw
    sent = _repeat(lambda: assembly.to_batch(raw), assembly.device, seconds=seconds / 3)
    ready = assembly.to_batch(raw)
    steps = _repeat(lambda: _step(assembly, updates, ready), assembly.device, seconds=seconds)
    together, waits = _together(assembly, updates, workers=workers, seconds=seconds)
    who = f"data, {workers} worker{'s' * (workers != 1)}" if workers else "data, no workers"
    stages = [
        Stage(
            name="decode", what="decode, one core", images_per_second=first.images / alone.reading
        ),
        Stage(name="views", what="views, one core", images_per_second=first.images / alone.making),
        Stage(name="data", what=who, images_per_second=made.images_per_second),
        Stage(name="copy", what=f"copy to {assembly.device.type}", images_per_second=batch / sent),
        Stage(name="step", what="optimiser step", images_per_second=batch / steps),
        Stage(name="together", what="all together", images_per_second=together),
    ]
    bound = _bound(stages, waits=waits)
    return Bench(
        data=data.source,
        recipe=run.recipe,
        images=len(assembly.source),
        encoder=" + ".join(e.name for e in parts(smaller.encoders).values()),
        fed=" + ".join(str(e.input) for e in parts(smaller.encoders).values()),
        device=assembly.device.type,
        cores=processes.cores(),
        workers=workers,
        batch=batch,
        batch_size=run.data.batch_size // train.accumulate,
        views=views,
        stages=stages,
        waits=waits,
        bound=bound,
        advice=_advice(bound, assembly, alone, workers=workers),
        budget=budget.words(
            run, samples=len(assembly.source), speed=together, device=assembly.device.type
        ),
    )


@dataclass(frozen=True)
class _Delivered:
    """What workers gave: the last micro-batch, images in all, samples/s once they are in step."""

    raw: packet.Raw
    images: int
    images_per_second: float


def _delivered(
    assembly: Assembly, *, workers: int, seconds: float, spent: loader.Spent
) -> _Delivered:
    """Let workers make batches that nobody trains on; the median over groups of one each."""
    rates: list[float] = []
    group, images, seen = max(1, workers), 0, 0
    raw: packet.Raw | None = None
    began = mark = time.perf_counter()
    for seen, [raw] in enumerate(_raws(assembly, assembly.run.data.batch_size, workers, spent), 1):
        images += len(raw.index)
        if seen % group:
            continue
        now = time.perf_counter()
        rates.append(group * len(raw.index) / (now - mark))
        mark = now
        if len(rates) > 3 and now - began > seconds:
            break
    if raw is None:
        raise AssertionError("the loader has no end")
    return _Delivered(raw, images, statistics.median(rates[1:]))


def _raws(
    assembly: Assembly, batch: int, workers: int, spent: loader.Spent
) -> Iterator[list[packet.Raw]]:
    run = assembly.run
    return loader.batches(
        assembly.source,
        assembly.pipeline,
        seed=run.seed,
        global_batch=batch,
        start_step=0,
        stop_step=10**9,
        workers=workers,
        max_bad=run.data.max_bad,
        on_bad=lambda _: None,
        spent=spent,
        pairs=assembly.pairs,
    )


def _batch(assembly: Assembly, updates: Updates, *, seconds: float) -> int:
    """The run's micro-batch, or the largest of its halves whose step takes a second."""
    full = assembly.run.data.batch_size // assembly.run.train.accumulate
    few = min(_FEW, full)
    raws = _raws(assembly, few, 0, loader.Spent())
    [raw] = next(raws)
    batch = assembly.to_batch(raw)
    each = _repeat(lambda: _step(assembly, updates, batch), assembly.device, seconds=seconds) / few
    while full > few and full * each > _STEP:
        full //= 2
    return max(few, full)


def _step(assembly: Assembly, updates: Updates, batch: Batch) -> None:
    """One optimiser step as in training, without its checks and notes."""
    method, clock = assembly.method, Clock(1, 1000)
    dtype = precision.autocast_dtype(assembly.run.train.precision, assembly.device)
    updates.set_rates(clock)
    with precision.mixed(assembly.device, dtype):
        step = method(batch, clock)
    step.total.backward()
    updates.freeze(clock)
    norm = updates.grad_norm()
    with torch.no_grad():
        method.after_backward(step, clock)
    updates.apply(norm)
    with torch.no_grad():
        method.after_step(clock)
    updates.clear()


def _repeat(work: Callable[[], object], device: torch.device, *, seconds: float) -> float:
    """Median seconds of a call; those that warm up, 3 or 8 seconds of them, are not counted."""
    times: list[float] = []
    warm = 0.0
    began = time.perf_counter()
    for number in range(1000):
        start = time.perf_counter()
        work()
        _settle(device)
        took = time.perf_counter() - start
        if number < _WARM and warm < 8.0:  # the first steps load libraries and choose kernels
            warm += took
            began = time.perf_counter()
            continue
        times.append(took)
        if time.perf_counter() - began >= seconds:
            break
    return statistics.median(times)


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _together(
    assembly: Assembly, updates: Updates, *, workers: int, seconds: float
) -> tuple[float, float]:
    """Images/s of steps fed by the workers, and the share of the time that waits for them.

    What the workers had ready before the first step is not counted.
    """
    skip = 1 + processes.AHEAD * workers
    batches: Iterator[Sequence[Batch]] = assembly.batches()(0, 10**9)
    times: list[tuple[float, float]] = []
    began = time.perf_counter()
    for _ in range(100_000):
        start = time.perf_counter()
        [batch] = next(batches)
        got = time.perf_counter()
        _step(assembly, updates, batch)
        _settle(assembly.device)
        end = time.perf_counter()
        times.append((got - start, end - start))
        passed = end - began
        if (len(times) >= skip + 8 and passed > seconds) or passed > 3 * seconds:
            break
    counted = list(islice(times, min(skip, len(times) // 2), None))
    waited, spent = (sum(column) for column in zip(*counted, strict=True))
    return len(counted) * assembly.run.data.batch_size / spent, waited / spent


def _bound(stages: Sequence[Stage], *, waits: float) -> str:
    speed = {stage.name: stage.images_per_second for stage in stages}
    if waits > _MUCH:
        return min(("decode", "views"), key=lambda name: speed[name])
    return min(("step", "copy"), key=lambda name: speed[name])


def _advice(bound: str, assembly: Assembly, spent: loader.Spent, *, workers: int) -> list[str]:
    if bound in ("decode", "views"):
        return [advice.why(assembly.source, spent, workers=workers)]
    if bound == "copy":
        return ["Try smaller views (--views.*.size), or fewer of them."]
    if assembly.device.type == "cpu":
        return ["Data keeps up. Try a GPU, a smaller encoder, or smaller views (--views.*.size)."]
    return ["Data keeps up. Try a larger --data.batch-size, a smaller encoder, or more GPUs."]
