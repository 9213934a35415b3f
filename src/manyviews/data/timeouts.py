"""How long a file may take to answer, and what workers that do not come back were doing.

A file on a mount that is gone, a named pipe, a process that somebody stopped: nothing of that is an
error to the system, and reading it takes for ever. A worker gives up a file by itself after
`SECONDS`. Where it cannot (it is stopped, or the system does not let go of it), the main process
ends it a little later and starts the workers anew.
"""

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from types import FrameType
from typing import Any

SECONDS = 120.0
"""That a file may take to be read and decoded."""
_TICKS = 10
"""Time is counted in so many pieces, so that what passes while everything is stopped (Ctrl-Z)
counts as one piece."""
_MAKING = 10
"""Making the views of a whole batch may take so many times as long."""
_FIELDS = 3


class Unanswered(TimeoutError):
    """A file took too long."""

    def __init__(self) -> None:
        super().__init__(f"did not answer within {SECONDS:g} s")


@contextmanager
def within() -> Generator[None]:
    """Raise `Unanswered` inside the block when it is late, and again if it is caught there.

    On the main thread alone, which workers run on; and not where someone else uses SIGALRM.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getitimer(signal.ITIMER_REAL)[0] > 0
    ):
        yield
        return
    left = [_TICKS]

    def tick(number: int, frame: FrameType | None) -> None:
        left[0] -= 1
        if left[0] <= 0:
            raise Unanswered

    before = signal.signal(signal.SIGALRM, tick)
    try:
        signal.setitimer(signal.ITIMER_REAL, SECONDS / _TICKS, SECONDS / _TICKS)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Doing:
    """What each worker is at: it writes, the main process reads.

    Args:
        workers: how many.
    """

    IDLE, MAKING = -2, -1

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._table: Any = RawArray("q", _FIELDS * workers)
        self.clear()

    def clear(self) -> None:
        """New workers are about to start."""
        for worker in range(self.workers):
            self._table[_FIELDS * worker : _FIELDS * (worker + 1)] = [0, self.IDLE, 0]

    def begin(self, worker: int, sample: int) -> None:
        """In a worker: it is at this sample, `MAKING` views or `IDLE` now."""
        row = _FIELDS * worker
        self._table[row] = os.getpid()
        self._table[row + 1] = sample
        self._table[row + 2] += 1

    def at(self, worker: int) -> tuple[int, int, int]:
        """Its process, the sample, and a number that changes with every `begin`."""
        process, sample, count = self._table[_FIELDS * worker : _FIELDS * (worker + 1)]
        return process, sample, count


def end(process: int) -> None:
    """SIGKILL, which reaches a stopped process too."""
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return


@dataclass(frozen=True)
class Late:
    """A worker that did not get on, and was ended.

    Attributes:
        process: its number.
        sample: that it was at; -1 while making views.
        stopped: by a signal, so that the sample is not to blame.
    """

    process: int
    sample: int
    stopped: bool


class Watchman(threading.Thread):
    """Ends workers that are at one thing for too long, all that are so at one look.

    Attributes:
        found: the workers that were ended; empty while all get on.
    """

    def __init__(self, doing: Doing) -> None:
        super().__init__(name="watchman", daemon=True)
        self.found: list[Late] = []
        self._doing = doing
        self._over = threading.Event()
        self._seen = [(0, 0)] * doing.workers

    def run(self) -> None:
        """Look again and again."""
        while not self.found and not self._over.wait(SECONDS / _TICKS):
            for worker in range(self._doing.workers):
                if self._late(worker):
                    process, sample, _ = self._doing.at(worker)
                    self.found.append(Late(process, sample, _stopped(process)))
            for late in self.found:
                end(late.process)

    def stop(self) -> None:
        """End the watch, and those that would have been late soon: nobody waits for them now."""
        self._over.set()
        self.join()
        for worker, (known, looks) in enumerate(self._seen):
            process, _, count = self._doing.at(worker)
            if looks and count == known:
                end(process)

    def _late(self, worker: int) -> bool:
        process, sample, count = self._doing.at(worker)
        known, looks = self._seen[worker]
        looks = looks + 1 if count == known and sample != Doing.IDLE else 0
        self._seen[worker] = count, looks
        most = _MAKING * _TICKS if sample == Doing.MAKING else _TICKS * 3 // 2
        return looks > (_TICKS if _stopped(process) else most)


def _stopped(process: int) -> bool:
    """Whether a signal stopped it (SIGSTOP, a debugger); False where the system does not tell."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state in ("T", "t")
