"""Processes that do work ahead of the main process, in order.

They are torch DataLoader workers, each single-threaded. They ignore SIGINT and SIGTERM: the main
process decides when training stops, and a terminal sends Ctrl-C to every process of its group.
"""

import os
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from manyviews.core import Failure

T = TypeVar("T")

MOST = 8
"""Workers per rank that "auto" never exceeds."""

AHEAD = 4
"""Results that each worker has ready or in work. Where making one takes an uneven time of the same
mean as using it, 4 leave the user waiting half as long as torch's 2, and 8 no less than 4."""


def cores() -> int:
    """Processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def count(workers: int, *, in_memory: bool = False) -> int:
    """How many workers `--data.workers` means: -1 chooses, 0 works in the main process.

    Auto is 0 for images in memory, else the cores of this rank but one, at least 1, at most 8.
    """
    if workers >= 0:
        return workers
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return 0 if in_memory else max(1, min(cores() // ranks - 1, MOST))


def each(
    work: Callable[[int], T], items: Sequence[int], *, workers: int, pin: bool = False
) -> Iterator[T]:
    """`work(item)` for every item, in order, computed ahead by worker processes.

    Args:
        work: called in workers; has to be picklable where processes are not forked.
        items: need not fit in memory: a range will do.
        workers: 0 works in this process, when the next result is asked for.
        pin: where there is a GPU, call the results' `pin_memory()` in a thread of this process.

    Raises:
        Failure: a worker died.
    """
    loader: DataLoader[T] = DataLoader(
        _Work(work),
        batch_size=None,
        sampler=items,
        num_workers=workers,
        prefetch_factor=AHEAD if workers else None,
        pin_memory=pin and torch.cuda.is_available(),
        worker_init_fn=prepare,
        collate_fn=_same,
    )
    try:
        with warnings.catch_warnings():
            # Python 3.12 warns of every fork in a process with threads, torch's own included
            warnings.filterwarnings("ignore", "This process .* is multi-threaded")
            # torch warns of more workers than cores; whoever asked for them may have them
            warnings.filterwarnings("ignore", "This DataLoader will create")
            results = iter(loader)
        yield from results
    except RuntimeError as error:
        first = str(error).splitlines()[0] if str(error) else ""
        if not first.startswith("DataLoader worker"):
            raise
        raise Failure(
            f"A decoding process died ({first}). Often memory ran out: use fewer "
            "--data.workers, or lower --data.max-pixels."
        ) from None


def prepare(worker: int) -> None:
    """Make this process a worker; called by torch in each one."""
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(1)
    # Not 1: after a fork that would wait for ever for the threads of the parent's pool to end.
    cv2.setNumThreads(0)


class _Work(Dataset[T], Generic[T]):
    def __init__(self, work: Callable[[int], T]) -> None:
        self._work = work

    def __getitem__(self, index: int) -> T:
        return self._work(index)


def _same(item: Any) -> Any:
    return item
