"""What a training says while it runs: lines of metrics, TensorBoard's files, the live line."""

import logging
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from manyviews.core import Clock, comm
from manyviews.training.guard import Vote
from manyviews.training.job import Job
from manyviews.training.keeper import State
from manyviews.training.live_line import LiveLine, Reading
from manyviews.training.metrics import Events, Value
from manyviews.training.optim import Rates
from manyviews.training.waiting import Waiting

log = logging.getLogger("manyviews")

_STEPS, _SECONDS = 2, 1.0
"""After the first step, before its pace is one to plan with."""


class Journal:
    """Writes on rank 0; the other ranks' is silent.

    Keys that hold times ("seconds", "images_per_second", "data_wait") are all that differs between
    the lines of a resumed run and of one that was never interrupted.

    Attributes:
        health: of the last check: 0 healthy, 1 watch, 2 alarm.
    """

    def __init__(self, job: Job, state: State) -> None:
        first = comm.rank() == 0
        self._job = job
        self._line = LiveLine(shown=job.progress and first)
        self._events: Events | None = None
        if job.tensorboard and first:
            self._events = Events(job.directory.path / "tensorboard", step=state.step)
        self._mark = (state.step, state.seconds, state.waited)
        self._waiting = Waiting()
        self._paced: tuple[int, float] | None = None
        self._told = not first
        self.health = 0

    def __enter__(self) -> Self:
        self._line.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._line.__exit__(kind, error, trace)
        if self._events is not None:
            self._events.close()

    def write(self, kind: str, step: int, values: Mapping[str, Value]) -> None:
        """One line of metrics of the given kind, and the same for TensorBoard."""
        self._job.directory.metrics(kind, {"step": step, **values})
        if self._events is not None:
            self._events.write(kind, step, values)

    def note(self, kind: str, state: State, values: Mapping[str, float]) -> None:
        """A line with what a monitor, a callback or the probe found, if it found anything."""
        if values:
            epoch = state.step // self._job.steps_per_epoch
            self.write(kind, state.step, {"epoch": epoch, "seconds": state.seconds, **values})

    def step(self, clock: Clock, state: State, rates: Rates, verdict: Vote) -> None:
        """A training step went well: write it down now and then."""
        share = self._waiting.share(state.step, seconds=state.seconds, waited=state.waited)
        if share:
            log.warning(
                "%.0f %% of the time waits for data. %s", 100 * share, self._job.why_waiting()
            )
        self._tell_budget(state)
        logged = state.step % self._job.train.log_every == 0
        shown = self._line.due()
        if not (logged or shown):
            return
        speed, wait = self._pace(state)
        loss = sum(verdict.losses.values())
        if shown:
            self._show(state, loss=loss, lr=rates.lr, speed=speed, wait=wait)
        if logged:
            values: dict[str, Value] = {"epoch": clock.epoch, "loss": loss}
            values |= {f"losses/{name}": value for name, value in verdict.losses.items()}
            values |= {"lr": rates.lr, "weight_decay": rates.weight_decay}
            values |= {"grad_norm": verdict.grad_norm, "seconds": state.seconds}
            values |= {"images_per_second": speed, "data_wait": wait}
            self.write("train", state.step, values)
            self._mark = (state.step, state.seconds, state.waited)

    def _tell_budget(self, state: State) -> None:
        """Say once what the duration buys, after two steps and a second beyond the first step."""
        if self._told:
            return
        if self._paced is None:  # the first step loads libraries
            self._paced = (state.step, state.seconds)
            return
        steps, seconds = state.step - self._paced[0], state.seconds - self._paced[1]
        if steps >= _STEPS and seconds >= _SECONDS:
            self._told = True
            for line in self._job.budget(steps * self._job.batch_size / seconds):
                log.info("%s", line)

    def _pace(self, state: State) -> tuple[float, float]:
        """Images/s and share of time waiting for data since the last line of metrics."""
        steps, seconds, waited = self._mark
        spent = max(1e-9, state.seconds - seconds)
        speed = (state.step - steps) * self._job.batch_size / spent
        return speed, (state.waited - waited) / spent

    def _show(self, state: State, *, loss: float, lr: float, speed: float, wait: float) -> None:
        clock = self._job.clock(state.step, seconds=state.seconds)
        skipped_lately = any(step > state.step - 100 for step in state.guard.recent)
        self._line.show(
            Reading(
                done=clock.progress,
                step=state.step,
                epoch=(state.step - 1) // self._job.steps_per_epoch + 1,
                loss=loss,
                lr=lr,
                speed=speed,
                wait=wait,
                left=state.seconds / state.step * (clock.total - state.step),
                health=max(self.health, int(skipped_lately)),
            )
        )
