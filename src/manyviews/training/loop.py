"""The training loop. It never names a method.

Read `fit`, then `_Training.run` and `_Training.step`. Every optimiser step: random numbers from
(seed, step, rank), rates from the clock, forward and backward per micro-batch, one vote among the
ranks on whether everything was finite, and only then the writes: hooks, optimiser, EMA.
"""

import logging
import shlex
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from manyviews.core import Batch, Clock, Failure, Step, comm
from manyviews.core.errors import out_of_memory
from manyviews.training import checkpoint, launch, precision
from manyviews.training.freeze import Frozen
from manyviews.training.guard import MOST_REWINDS, Undo, Vote, mean_vote, vote
from manyviews.training.job import Collapsed, Job, Outcome, Remembering
from manyviews.training.journal import Journal
from manyviews.training.keeper import Keeper
from manyviews.training.optim import Rates, build
from manyviews.training.signals import Stop, Waited

log = logging.getLogger("manyviews")

_OPEN_END = 10**9
"""Steps asked of the data when a wall-clock budget decides."""


class NoData(Exception):
    """The data cannot be had; `why` is what a user is told."""

    def __init__(self, why: Failure) -> None:
        super().__init__(str(why))
        self.why = why


@dataclass(frozen=True)
class _Pass:
    """One micro-batch's forward and backward, what the ranks think of it, the gradients' norm."""

    step: Step
    verdict: Vote
    norm: Tensor


def fit(job: Job) -> Outcome:
    """Train until the steps, epochs or minutes of `job.train` are used up.

    Raises:
        UsageError: the run directory already holds a run and `resume` is false.
        Failure: the directory cannot be written, numbers stay non-finite after three rewinds, or
            the last checkpoint cannot be saved.
    """
    with Stop() as stop:
        training = _Training(job, stop)
        with training.journal:
            return training.run()


class _Training:
    """One run of `fit`."""

    def __init__(self, job: Job, stop: Stop) -> None:
        self.job = job
        self.stop = stop
        self.method = job.method.train()
        self.updates = build(job.method, job.optim, job.batch_size)
        self.frozen = Frozen(job.method, job.train.freeze_encoder)
        self.keeper = Keeper(
            job.directory,
            job.train,
            method=job.method,
            optimizer=self.updates.optimizer,
            steps_per_epoch=job.steps_per_epoch,
        )
        self.state = self.keeper.start(resume=job.resume)
        self.remembering = [m for m in job.monitors if isinstance(m, Remembering)]
        for i, (monitor, past) in enumerate(
            zip(self.remembering, self.state.monitors, strict=False)
        ):
            monitor.restore(past, _below(f"{i}/", self.state.tensors))
        self.journal = Journal(job, self.state)
        self.forward = launch.wrap(job.method)
        self.dtype = precision.autocast_dtype(job.train.precision, job.device)
        self.undo = Undo(job.method, everything=job.train.accumulate > 1)
        self.began = time.perf_counter() - self.state.seconds
        self.phase: Literal["between", "forward", "writing"] = "between"

    def run(self) -> Outcome:
        """All steps from where we are to the end; what can be saved is, whatever comes."""
        try:
            return self.steps()
        except NoData as failure:
            raise type(failure.why)(f"{failure.why}{self.rescue()}") from failure.why
        except (RuntimeError, MemoryError, OSError) as error:
            lost = launch.LOST if launch.is_of_a_lost_rank(error) else ""
            why = lost or out_of_memory(error)
            if not why:
                raise
            raise Failure(f"{why}{self.rescue()}") from error

    def rescue(self) -> str:
        """Save the last step, unless its successor is half written; a sentence on what is saved."""
        if self.phase == "forward":
            self.undo.undo()
        if self.phase != "writing":
            self.save(last=False)
        go_on = f"`manyviews resume {shlex.quote(str(self.job.directory.path))}`"
        if comm.rank() > 0:
            return f" {go_on} goes on from what the first rank has saved."
        saved = self.keeper.saved
        return f" Step {saved} is saved: {go_on} goes on from there." if saved > 0 else ""

    def steps(self) -> Outcome:
        """The loop itself."""
        job, state = self.job, self.state
        end = _OPEN_END if job.train.minutes > 0 else job.clock(0, seconds=0.0).total
        with _closing(job.batches(state.step, end)) as batches:
            while not job.finished(state.step, seconds=state.seconds):
                clock = self.begin()
                try:
                    micro_batches = self.wait(batches)
                except Waited:
                    return self.end("interrupted", self.stop.asked)
                rates, verdict, step = self.step(micro_batches, clock)
                state.step += 1
                self.phase = "between"
                state.seconds = verdict.seconds
                if verdict.fault:
                    self.skipped(micro_batches, verdict)
                else:
                    state.guard.good()
                    self.journal.step(clock, state, rates, verdict)
                    if why := self.look(step, clock, verdict):
                        return self.end("collapsed", why)
                if verdict.stop:
                    return self.end("interrupted", self.stop.asked)
                if not verdict.fault and self.saves(clock):
                    self.save(last=False)
        self.save(last=True)
        self.call_back(job.clock(state.step, seconds=state.seconds), over=True)
        return self.outcome("done")

    def begin(self) -> Clock:
        """What happens between two steps: callbacks, and the method's own start of an epoch."""
        job, state = self.job, self.state
        clock = job.clock(state.step, seconds=state.seconds)
        self.call_back(clock, over=False)
        if state.step % job.steps_per_epoch == 0 and state.begun != state.step:
            self.open_epoch(clock)
            state.begun = state.step
        return clock

    def open_epoch(self, clock: Clock) -> None:
        """The method's own start of the epoch that begins with the clock's step."""
        launch.seed_epoch(self.job.seed, clock.step)
        self.phase = "writing"
        self.method.before_epoch(clock, self.job.embed_all)
        self.phase = "between"

    def step(self, micro_batches: Sequence[Batch], clock: Clock) -> tuple[Rates, Vote, Step]:
        """One optimiser step, or nothing at all if anything on any rank is not finite."""
        launch.seed_step(self.job.seed, clock.step)
        rates = self.updates.set_rates(clock)
        self.frozen.set_mode(clock)
        self.undo.keep()
        self.phase = "forward"
        passes: list[_Pass] = []
        for i, batch in enumerate(micro_batches, 1):
            passes.append(self.micro_batch(batch, clock, i=i, of=len(micro_batches)))
            if passes[-1].verdict.fault:
                break
        last = passes[-1]
        self.phase = "writing"
        if last.verdict.fault:
            self.undo.undo()
        else:
            self.updates.apply(last.norm)
            with torch.no_grad():
                self.method.after_step(clock)
        self.updates.clear()
        return rates, mean_vote([p.verdict for p in passes]), last.step

    def micro_batch(self, batch: Batch, clock: Clock, *, i: int, of: int) -> _Pass:
        """Forward, backward, vote, and the hook if every rank found the micro-batch finite.

        Ranks exchange gradients on the last one only; its hook waits for the gradients too.
        """
        run, final = self.forward, i == of
        apart = isinstance(run, DistributedDataParallel) and not final
        with cast(DistributedDataParallel, run).no_sync() if apart else nullcontext():
            with precision.mixed(self.job.device, self.dtype):
                step: Step = run(batch, clock)
            (step.total / of).backward()
        # The graph, which hangs on the losses, goes now; monitors hold the step for longer.
        step = without_graph(step)
        if final:
            self.updates.freeze(clock)
            self.frozen.drop(clock)
        norm = self.updates.grad_norm() if final else torch.zeros(())
        elapsed = time.perf_counter() - self.began
        verdict = vote(step.losses, norm=norm, stop=bool(self.stop.asked), seconds=elapsed)
        if not verdict.fault:
            with torch.no_grad():
                self.method.after_backward(step, clock)
        return _Pass(step, verdict, norm)

    def skipped(self, micro_batches: Sequence[Batch], verdict: Vote) -> None:
        """Log a step that changed nothing, and go back to a checkpoint if there are too many."""
        step, guard = self.state.step, self.state.guard
        own = torch.cat([batch.index for batch in micro_batches]).to(self.job.device)
        index = comm.gather(own).tolist()
        log.warning(
            "Step %d skipped: %s not finite. Samples %s%s.",
            step,
            verdict.fault,
            ", ".join(str(i) for i in index[:8]),
            ", ..." if len(index) > 8 else "",
        )
        self.journal.write("skip", step, {"fault": verdict.fault, "samples": index})
        if not guard.bad(step):
            return
        if guard.rewinds == MOST_REWINDS:
            raise Failure(
                f"Numbers are not finite again at step {step} after {MOST_REWINDS} returns to a "
                "checkpoint. Lower --optim.lr, lengthen --optim.warmup, or set "
                "--train.precision fp32."
            )
        guard.rewound()
        back = self.keeper.rewind()
        inside = self.state.step % self.job.steps_per_epoch
        if inside and back <= self.state.begun:  # saved before this epoch was opened
            self.open_epoch(self.job.clock(self.state.begun, seconds=self.state.seconds))
        log.warning("Went back to the weights of step %d; the data go on from %d.", back, step)
        self.journal.write("rewind", step, {"to": back})

    def look(self, step: Step, clock: Clock, verdict: Vote) -> str:
        """Ask the monitors; why to stop, or "" to go on."""
        if not self.job.looks(clock, self.state.step, seconds=self.state.seconds):
            return ""
        why, found = "", dict[str, float]()
        losses = {**verdict.losses, "loss": sum(verdict.losses.values())}
        for monitor in self.job.monitors:
            try:
                found |= monitor(self.method, step, clock, losses)
            except Collapsed as collapse:
                why = str(collapse)
        self.journal.health = int(found.get("health", 0.0))
        self.journal.note("health", self.state, found)
        if comm.any_rank(bool(why), self.job.device):
            return why or "the representation collapsed on another rank"
        return ""

    def wait(self, batches: Iterator[Sequence[Batch]]) -> Sequence[Batch]:
        """The next step's micro-batches, and how long they took.

        A single process may leave the wait at a signal. Among several ranks one that left would
        keep the others waiting, so they agree at the end of the step.
        """
        began = time.perf_counter()
        try:
            with self.stop.interruptible() if comm.world_size() == 1 else nullcontext():
                micro_batches = next(batches, None)
        except Failure as failure:
            raise NoData(failure) from failure
        if micro_batches is None:
            raise Failure(f"The data ended at step {self.state.step}, before training did.")
        self.state.waited += time.perf_counter() - began
        return micro_batches

    def call_back(self, clock: Clock, *, over: bool) -> None:
        """Run the callbacks that are due between two steps, once, on rank 0.

        A run that was killed in the middle of them runs them again when resumed.
        """
        state, job = self.state, self.job
        if state.step == 0 or state.called == state.step:
            return
        began = time.perf_counter()
        modes = {module: module.training for module in self.method.modules()}
        if comm.rank() == 0 and state.step % job.steps_per_epoch == 0:
            for callback in job.after_epoch:
                self.journal.note("epoch", state, callback(self.method, clock))
        if self.probe_due(over=over):
            state.probed = state.seconds
            if comm.rank() == 0 and job.probe is not None:
                self.journal.note("probe", state, job.probe(self.method, clock))
        for module, mode in modes.items():
            module.training = mode
        state.called = state.step
        spent = time.perf_counter() - began
        state.aside += spent
        self.began += spent

    def probe_due(self, *, over: bool) -> bool:
        """Whether the probe runs between this step and the next."""
        state, every = self.state, self.job.probe_every
        if over or every <= 0:
            return over
        if self.job.train.minutes > 0:
            return state.seconds - state.probed >= 60 * every
        return state.step % max(1, round(every * self.job.steps_per_epoch)) == 0

    def saves(self, before: Clock) -> bool:
        """Whether a checkpoint is due after a step that began at this clock."""
        step, seconds = self.state.step, self.state.seconds
        part = self.job.crosses(before, step, seconds=seconds, parts=checkpoint.SPREAD + 1)
        return self.keeper.due(self.state, part=part)

    def save(self, *, last: bool) -> None:
        """Write a checkpoint of now."""
        kept = [monitor.state() for monitor in self.remembering]
        self.state.monitors = [numbers for numbers, _ in kept]
        self.state.tensors = {
            f"{i}/{name}": tensor
            for i, (_, tensors) in enumerate(kept)
            for name, tensor in tensors.items()
        }
        self.keeper.save(self.state, last=last)

    def end(self, status: Literal["interrupted", "collapsed"], message: str) -> Outcome:
        """Save and stop before the end."""
        self.save(last=True)
        message = message or "a signal to another rank"
        log.warning("Stopped after step %d, which is saved: %s.", self.state.step, message)
        return self.outcome(status, message)

    def outcome(
        self, status: Literal["done", "interrupted", "collapsed"], message: str = ""
    ) -> Outcome:
        """What `fit` returns."""
        state = self.state
        seconds = max(1e-9, state.seconds)
        return Outcome(
            status=status,
            steps=state.step,
            seconds=state.seconds,
            aside_seconds=state.aside,
            images_per_second=state.step * self.job.batch_size / seconds,
            data_wait=state.waited / seconds,
            skipped=state.guard.skipped,
            rewinds=state.guard.rewinds,
            message=message,
        )


def without_graph(step: Step) -> Step:
    """A step whose tensors hold on to nothing."""
    losses = {name: loss.detach() for name, loss in step.losses.items()}
    projection = None if step.projection is None else step.projection.detach()
    return replace(step, losses=losses, projection=projection, clusters=None)


def _below(start: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names begin so, without that."""
    return {k.removeprefix(start): t for k, t in tensors.items() if k.startswith(start)}


@contextmanager
def _closing(
    batches: Iterator[Sequence[Batch]],
) -> Generator[Iterator[Sequence[Batch]]]:
    """Let the data's worker processes go at the end, however it comes."""
    try:
        yield batches
    finally:
        close: Callable[[], None] | None = getattr(batches, "close", None)
        if close is not None:
            close()
