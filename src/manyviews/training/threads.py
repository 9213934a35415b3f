"""How many threads compute: as many as other work leaves cores for.

Threads that share their cores with others wait for the one that is being kept waiting, in every
operation: on two cores beside two busy processes two threads are half as fast as one
(bench/contention.py). Results depend on the number in their last bits, so that it stays what it is
for the whole of a run.
"""

import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path

import torch

_WINDOW = 1.0
"""Seconds over which the load is measured at least: its clock ticks a hundred times a second."""
_STAT = Path("/proc/stat")
_BUSY = (0, 2, 5, 6)
"""Columns of a core there: user, system, interrupts. What is nice gives way to us."""


@dataclass(frozen=True)
class Moment:
    """Seconds: the time, and what others' work has taken so far of the cores that we may use."""

    when: float
    others: float


def moment() -> Moment | None:
    """What has been used so far; None where the system does not say."""
    try:
        lines = [line.split() for line in _STAT.read_text(encoding="ascii").splitlines()]
        mine = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        ticks = sum(int(line[1 + at]) for line in lines if line[0] in mine for at in _BUSY)
    except (OSError, ValueError, IndexError, AttributeError):
        return None
    own = 0.0
    if os.nice(0) <= 0:
        used = [resource.getrusage(of) for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        own = sum(each.ru_utime + each.ru_stime for each in used)
    return Moment(time.perf_counter(), ticks / os.sysconf("SC_CLK_TCK") - own)


def settle(since: Moment | None) -> str:
    """Let as many threads compute as there are free cores; what to tell the user, if anything.

    Nothing changes where the user has set OMP_NUM_THREADS.

    Args:
        since: from when on others' work counts; a second ago or more, or it is waited for.
    """
    every = torch.get_num_threads()
    if since is None or every == 1 or "OMP_NUM_THREADS" in os.environ:
        return ""
    time.sleep(max(0.0, since.when + _WINDOW - time.perf_counter()))
    now = moment()
    if now is None:
        return ""
    busy = (now.others - since.others) / (now.when - since.when)
    threads = free(every, busy)
    if threads == every:
        return ""
    torch.set_num_threads(threads)
    return (
        f"other work keeps {busy:.1f} of {every} cores busy, so {threads} thread"
        f"{'s compute' if threads > 1 else ' computes'} (OMP_NUM_THREADS={every} takes all)"
    )


def free(every: int, busy: float) -> int:
    """Threads for `every` cores of which others keep so many busy: 1 or more."""
    return max(1, min(every, int(every - busy + 0.5)))


def again(threads: object) -> None:
    """Let as many threads compute as when the run began, if that is known and nobody says else."""
    if isinstance(threads, int) and threads > 0 and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(threads, torch.get_num_threads()))
