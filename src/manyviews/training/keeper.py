"""When to save, what to do when saving fails, and how to come back."""

import errno
import logging
import shutil
import time
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from manyviews.core import Failure, Method, comm
from manyviews.training import checkpoint
from manyviews.training.guard import Guard
from manyviews.training.job import Directory
from manyviews.training.settings import Train

log = logging.getLogger("manyviews")

_SECONDS = 600.0
_SHARE = 0.05
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MARGIN = 2.2
"""Free space wanted, in checkpoints: one more than the newest is on disk for a moment."""


@dataclass
class State:
    """What a checkpoint holds besides tensors.

    Attributes:
        step: optimiser steps done or skipped.
        seconds: training time.
        aside: seconds in probes and callbacks, which are no training time.
        waited: seconds of training time spent waiting for data.
        begun: step before which the method's own start of an epoch last ran; -1 never.
        called: step after which callbacks and probe were last considered.
        probed: training time at the last probe.
        guard: counts of skipped steps.
        monitors: numbers that those that remember want kept.
        tensors: theirs, "number of the monitor/name"; in a file of their own.
    """

    step: int = 0
    seconds: float = 0.0
    aside: float = 0.0
    waited: float = 0.0
    begun: int = -1
    called: int = 0
    probed: float = 0.0
    guard: Guard = field(default_factory=Guard)
    monitors: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    tensors: dict[str, Tensor] = field(default_factory=dict[str, Tensor])

    def numbers(self) -> dict[str, Any]:
        """What is no tensor, by name."""
        found = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "tensors"}
        return found | {"guard": asdict(self.guard)}


class Keeper:
    """Keeps the checkpoints of one run. Rank 0 writes; all ranks read.

    Attributes:
        saved: step of the last checkpoint written or read; -1 before.
    """

    def __init__(
        self,
        directory: Directory,
        train: Train,
        *,
        method: Method,
        optimizer: torch.optim.Optimizer,
        steps_per_epoch: int,
    ) -> None:
        self._directory = directory
        self._train = train
        self._method = method
        self._optimizer = optimizer
        self._epoch = steps_per_epoch
        self._saved_at = 0.0
        self._cost = 0.0
        self.saved = -1

    def start(self, *, resume: bool) -> State:
        """Load the latest checkpoint, or begin with one of the initial weights.

        That first one proves before training that checkpoints can be written, and is what an
        early rewind goes back to.

        Raises:
            UsageError: there is a run already and `resume` is false.
            Failure: no checkpoint verifies or fits, or the folder cannot be written.
        """
        folder, path = self._directory.checkpoints, self._directory.path
        if comm.rank() == 0:
            if not resume:
                checkpoint.refuse_second(path, folder)
            checkpoint.sweep(folder)
            self._warn_of_space()
        saved = self._load() if resume else None
        if resume:  # a new run may have logged already, of its wiring
            self._directory.cut_metrics(saved["metrics_bytes"] if saved else 0)
        if saved is None:
            state = State()
            self.save(state, last=False)
            return state
        log.info("Resuming after step %d.", self.saved)
        own: dict[str, Any] = {name: saved[name] for name in State().numbers()}
        own["guard"] = Guard(**own["guard"])
        own["tensors"] = checkpoint.monitors(checkpoint.path_of(folder, self.saved))
        state = State(**own)
        self._saved_at = state.seconds
        return state

    def due(self, state: State, *, part: bool) -> bool:
        """Whether to save now. Ask after a good step: a rewind must go back past the bad ones.

        Without `train.checkpoint_every`: after each epoch and each ninth of the training, unless
        saving would then take more than 5 % of the time, and every 10 minutes.

        Args:
            state: as it is now.
            part: whether such a ninth is over.
        """
        if self._train.checkpoint_every > 0:
            return state.step % self._train.checkpoint_every == 0
        since = state.seconds - self._saved_at
        ends = part or state.step % self._epoch == 0
        return since >= _SECONDS or (ends and since * _SHARE >= self._cost)

    def save(self, state: State, *, last: bool) -> None:
        """Write a checkpoint, unless this step's is there already.

        A failing disk is a warning, and the next interval tries again; with `last` there is none,
        so it is a Failure. So it is before the first step, when nothing is lost yet.
        """
        if comm.rank() > 0 or state.step == self.saved:
            return
        began = time.perf_counter()
        try:
            checkpoint.save(
                self._directory.checkpoints,
                step=state.step,
                method=self._method,
                optimizer=self._optimizer,
                state={**state.numbers(), "metrics_bytes": self._directory.metrics_size()},
                monitors=state.tensors,
                keep=self._train.keep,
            )
        except OSError as error:
            self._complain(error, state.step, last=last)
        else:
            self.saved = state.step
        self._saved_at = state.seconds
        self._cost = time.perf_counter() - began

    def rewind(self) -> int:
        """Put method and optimiser back to the last good checkpoint; return its step."""
        if self._load() is None:
            raise Failure(
                f"There is no checkpoint in {self._directory.checkpoints} to go back to. "
                "Free some disk space and train again with a lower --optim.lr."
            )
        return self.saved

    def _load(self) -> dict[str, Any] | None:
        folder = self._directory.checkpoints
        found = checkpoint.latest(folder) if comm.rank() == 0 else None
        step = torch.tensor([-1 if found is None else checkpoint.step_of(found)])
        device = next(self._method.parameters()).device
        self.saved = int(comm.broadcast(step.to(device)).item())
        if self.saved < 0:
            return None
        path = checkpoint.path_of(folder, self.saved)
        return checkpoint.load(path, method=self._method, optimizer=self._optimizer)

    def _complain(self, error: OSError, step: int, *, last: bool) -> None:
        folder, reason = self._directory.checkpoints, error.strerror
        before = f"step {self.saved} is intact" if self.saved >= 0 else "there is none before it"
        if last:
            raise Failure(
                f"Cannot save step {step} in {folder}: {reason}; {before}. Make room there, then "
                f"`manyviews resume {self._directory.path}`."
            ) from error
        if step == 0:
            full = error.errno in _FULL
            advice = "Make room there, or give another --out." if full else "Give a writable --out."
            raise Failure(
                f"Cannot write the first checkpoint in {folder}: {reason}. {advice}"
            ) from error
        log.warning(
            "Cannot save step %d in %s: %s; %s. Training goes on.", step, folder, reason, before
        )

    def _warn_of_space(self) -> None:
        trained = [p for p in self._method.parameters() if p.requires_grad]
        moments = 2 if isinstance(self._optimizer, torch.optim.AdamW) else 1
        tensors = [*self._method.parameters(), *self._method.buffers(), *trained * moments]
        size = sum(t.numel() * t.element_size() for t in tensors)
        wanted = (_MARGIN + checkpoint.spread_of(size, keep=self._train.keep)) * size
        free = shutil.disk_usage(self._directory.path).free
        if free < wanted:
            log.warning(
                "Checkpoints need about %.1f GB in %s, which has %.1f GB free. Make room.",
                wanted / 1e9,
                self._directory.path,
                free / 1e9,
            )
