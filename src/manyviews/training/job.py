"""What a training is given and what it gives back."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from manyviews.core import Batch, Clock, EmbedAll, Method, Step, UsageError
from manyviews.training.metrics import Value
from manyviews.training.settings import Optim, Train

Monitor = Callable[[Method, Step, Clock, Mapping[str, float]], Mapping[str, float]]
"""Looks, never changes: (method, last micro-batch's step, clock, losses) -> numbers to log.

"health" among the numbers sets the light: 0 healthy, 1 watch, 2 alarm. It runs on every rank and
may raise `Collapsed`.
"""

CHECKS = 26
"""Health checks in any training, evenly spread, besides the one after the first step."""

Callback = Callable[[Method, Clock], Mapping[str, float]]
"""Runs on rank 0 beside training; what it returns is logged."""


class Collapsed(Exception):
    """A monitor asks to stop: the representation has collapsed. The message says why."""


@runtime_checkable
class Remembering(Protocol):
    """A monitor with counts that a resumed run should go on from."""

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What to save: numbers, kept as JSON, and tensors by name."""
        ...

    def restore(self, numbers: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take up what was saved."""
        ...


class Directory(Protocol):
    """Where a training is written down: the folder of its run, open and locked.

    Attributes:
        path: the folder.
        checkpoints: where checkpoints lie in it.
    """

    path: Path
    checkpoints: Path

    def metrics(self, kind: str, values: Mapping[str, Value]) -> None:
        """Append a line of metrics; nothing on ranks other than 0."""
        ...

    def metrics_size(self) -> int:
        """Bytes of the metrics, on disk."""
        ...

    def cut_metrics(self, size: int) -> None:
        """Drop what was logged after so many bytes."""
        ...


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything a training needs.

    Attributes:
        method: on its device already.
        optim, train: see their classes.
        seed: with step and rank it decides every random number.
        batch_size: images per optimiser step, over all ranks and micro-batches.
        steps_per_epoch: optimiser steps in one epoch.
        batches: (first step, end step) -> for each step the list of its micro-batches, on the
            device and normalised. What a step's batches hold depends on the step alone.
        directory: open already, and locked.
        device: where the method is.
        monitors: asked as `looks` says; logged under "health".
        after_epoch: run on rank 0 after each epoch; logged under "epoch".
        probe: run on rank 0; logged under "probe".
        probe_every: epochs between probes, or minutes with a budget of minutes; 0: at the end.
        embed_all: passed to `method.before_epoch`.
        why_waiting: asked once, when training waits for data much of the time: what to do.
        budget: asked once, when the first steps have shown how many images/s there are: what the
            training's duration buys, a line each.
        resume: go on from the latest checkpoint, if there is one.
        tensorboard: also write TensorBoard files where it is installed.
        progress: show the live line.
    """

    method: Method
    optim: Optim
    train: Train
    seed: int
    batch_size: int
    steps_per_epoch: int
    batches: Callable[[int, int], Iterator[Sequence[Batch]]]
    directory: Directory
    device: torch.device
    monitors: Sequence[Monitor] = ()
    after_epoch: Sequence[Callback] = ()
    probe: Callback | None = None
    probe_every: float = 1.0
    embed_all: EmbedAll = lambda f, *, share=False: torch.empty(0)
    why_waiting: Callable[[], str] = lambda: "Try more --data.workers."
    budget: Callable[[float], Sequence[str]] = lambda speed: ()
    resume: bool = False
    tensorboard: bool = True
    progress: bool = True

    def __post_init__(self) -> None:
        """Check the settings that the loop divides by.

        Raises:
            UsageError: naming the setting.
        """
        train = self.train
        given = [n for n in ("steps", "epochs", "minutes") if getattr(train, n) > 0]
        if len(given) != 1:
            raise UsageError(
                f"Training needs exactly one of steps, epochs and minutes; it has "
                f"{' and '.join(given) or 'none'}. Set one --train.steps, --train.epochs or "
                "--train.minutes and the others to 0."
            )
        for name in ("accumulate", "keep", "log_every", "health_every"):
            if getattr(train, name) < 1:
                raise UsageError(
                    f"train.{name} is {getattr(train, name)}; it must be 1 or more. "
                    f"Set --train.{name.replace('_', '-')}."
                )

    def clock(self, step: int, *, seconds: float) -> Clock:
        """The clock of the step after `step` done ones and `seconds` of training.

        With a budget of minutes, `total` is what makes `progress` the share of the budget used.
        """
        train = self.train
        if train.minutes > 0:
            used = seconds / (60 * train.minutes)
            total = max(step + 1, round(step / used)) if used > 0 else step + 1
        else:
            total = train.steps or train.epochs * self.steps_per_epoch
        epochs = -(-total // self.steps_per_epoch)
        return Clock(step, total, epoch=step // self.steps_per_epoch, epochs=epochs)

    def crosses(self, before: Clock, step: int, *, seconds: float, parts: int) -> bool:
        """Whether a step ended one of so many equal parts of the training.

        Args:
            before: the clock that the step began at.
            step: steps done since.
            seconds: of training since.
            parts: of the whole.
        """
        if self.finished(step, seconds=seconds):
            return True
        ends = (before.progress, self.clock(step, seconds=seconds).progress)
        first, last = (int(parts * share + 1e-9) for share in ends)  # 26 x (150 / 260) is 15
        return last > first

    def looks(self, before: Clock, step: int, *, seconds: float) -> bool:
        """Whether health is checked after a step; arguments as in `crosses`.

        After the first and the last, every `train.health_every`, and `CHECKS` times at least.
        """
        often = step == 1 or step % self.train.health_every == 0
        return often or self.crosses(before, step, seconds=seconds, parts=CHECKS)

    def finished(self, step: int, *, seconds: float) -> bool:
        """Whether the steps, epochs or minutes are used up."""
        if self.train.minutes > 0:
            return seconds >= 60 * self.train.minutes
        return step >= (self.train.steps or self.train.epochs * self.steps_per_epoch)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a training ended.

    Attributes:
        status: "interrupted" can be resumed; "collapsed" was stopped by a monitor.
        steps: optimiser steps done, those of earlier parts of the run included.
        seconds: training time, likewise; probes and callbacks are not in it.
        aside_seconds: time in probes and callbacks.
        images_per_second: over `seconds`.
        data_wait: share of `seconds` spent waiting for data, in [0, 1].
        skipped: steps skipped because something was not finite.
        rewinds: returns to a checkpoint because of them.
        message: why it collapsed, or which signal came.
    """

    status: Literal["done", "interrupted", "collapsed"]
    steps: int
    seconds: float
    aside_seconds: float
    images_per_second: float
    data_wait: float
    skipped: int
    rewinds: int
    message: str = ""
