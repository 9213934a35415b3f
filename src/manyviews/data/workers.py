"""Processes that do work ahead of the main process, in order.

They are torch DataLoader workers, each single-threaded. They ignore SIGINT and SIGTERM: the main
process decides when training stops, and a terminal sends Ctrl-C to every process of its group.
"""

import os
import signal
import warnings
from collections.abc import Callable, Generator, Iterable
from typing import Any, Generic, TypeVar, cast

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from manyviews.core import Failure

Item = TypeVar("Item")
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


def each(work: Callable[[Item], T], items: Iterable[Item], *, workers: int) -> Generator[T]:
    """`work(item)` for every item, in order, computed ahead by worker processes.

    They end with the last result, and when the generator is closed. Close it where an exception's
    traceback could keep it: workers that the garbage collector is left to end take 5 seconds each.

    Args:
        work: called in workers; has to be picklable where processes are not forked.
        items: asked for in this process, AHEAD for each worker before the first result and one
            before each result that is handed over.
        workers: 0 works in this process, when the next result is asked for.

    Raises:
        Failure: a worker died.
    """
    try:
        with warnings.catch_warnings():
            # Python 3.12 warns of every fork in a process with threads, torch's own included
            warnings.filterwarnings("ignore", "This process .* is multi-threaded")
            # torch warns of more workers than cores; whoever asked for them may have them
            warnings.filterwarnings("ignore", "This DataLoader will create")
            results = iter(_loader(work, items, workers))
        yield from results
    except RuntimeError as error:
        first = str(error).splitlines()[0] if str(error) else ""
        if not first.startswith("DataLoader worker"):
            raise
        raise Failure(
            f"A decoding process died ({first}). Often memory ran out: use fewer "
            "--data.workers, or lower --data.max-pixels."
        ) from None


def _loader(work: Callable[[Item], T], items: Iterable[Item], workers: int) -> DataLoader[T]:
    return DataLoader(
        _Work(work),
        batch_size=None,
        sampler=cast(Any, items),
        num_workers=workers,
        prefetch_factor=AHEAD if workers else None,
        worker_init_fn=prepare,
        collate_fn=_same,
    )


def prepare(worker: int) -> None:
    """Make this process a worker; called by torch in each one."""
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(1)
    # Not 1: after a fork that would wait for ever for the threads of the parent's pool to end.
    cv2.setNumThreads(0)


class _Work(Dataset[T], Generic[Item, T]):
    def __init__(self, work: Callable[[Item], T]) -> None:
        self._work = work

    def __getitem__(self, index: Item) -> T:
        return self._work(index)


def _same(item: Any) -> Any:
    return item
