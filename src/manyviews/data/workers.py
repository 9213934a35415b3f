"""Processes that do work ahead of the main process, in order.

They are torch DataLoader workers, each single-threaded. They ignore SIGINT and SIGTERM: the main
process decides when training stops, and a terminal sends Ctrl-C to every process of its group.
"""

import contextlib
import itertools
import logging
import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Generic, TypeVar, cast

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from manyviews.core import Failure
from manyviews.data.timeouts import Doing, Late, Watchman

log = logging.getLogger("manyviews")

Task = TypeVar("Task")
T = TypeVar("T")

MOST = 8
"""Workers per rank that "auto" never exceeds."""

AHEAD = 4
"""Results that each worker has ready or in work. Where making one takes an uneven time of the same
mean as using it, 4 leave the user waiting half as long as torch's 2, and 8 no less than 4."""

_MOST_REPLACED = 3
"""Workers that may be replaced before there is a result again."""


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
    work: Callable[[Task], T],
    items: Iterable[Task],
    *,
    workers: int,
    doing: Doing | None = None,
    avoid: Callable[[int], None] | None = None,
) -> Generator[T]:
    """`work(item)` for every item, in order, computed ahead by worker processes.

    They end with the last result, and when the generator is closed. Close it where an exception's
    traceback could keep it: workers that the garbage collector is left to end take 5 seconds each.

    Args:
        work: called in workers; has to be picklable where processes are not forked.
        items: asked for in this process, AHEAD for each worker before the first result and one
            before each result that is handed over.
        workers: 0 works in this process, when the next result is asked for.
        doing: where `work` says what it is at. A worker that does not get on is then ended and all
            are started anew, with what they had not delivered.
        avoid: told the sample that it was at, before the new ones start.

    Raises:
        Failure: a worker died, or again and again one does not get on.
    """
    rest, waiting, replaced = iter(items), deque[Task](), 0
    while True:
        again, waiting = list(waiting), deque[Task]()
        watchman = Watchman(doing) if doing is not None and workers else None
        try:
            noted = _noted(itertools.chain(again, rest), waiting)
            for result in _results(work, noted, workers, watchman, doing):
                waiting.popleft()
                yield result
                replaced = 0
            return
        except _Died as died:
            if watchman is None or not watchman.found:
                raise Failure(
                    f"A decoding process died ({died}). Often memory ran out: use fewer "
                    "--data.workers, or lower --data.max-pixels."
                ) from None
            replaced += 1
            _replace(watchman.found, avoid, replaced)


class _Died(Exception):
    """A worker is gone; torch's words."""


def _results(
    work: Callable[[Task], T],
    items: Iterable[Task],
    workers: int,
    watchman: Watchman | None,
    doing: Doing | None,
) -> Generator[T]:
    """One set of workers and what they make."""
    try:
        if doing is not None:
            doing.clear()
        with warnings.catch_warnings():
            # Python 3.12 warns of every fork in a process with threads, torch's own included
            warnings.filterwarnings("ignore", "This process .* is multi-threaded")
            # torch warns of more workers than cores; whoever asked for them may have them
            warnings.filterwarnings("ignore", "This DataLoader will create")
            with _no_handler_of_torch():
                results = iter(_loader(work, items, workers))
        if watchman is not None:
            watchman.start()
        yield from results
    except (RuntimeError, EOFError, ConnectionError, FileNotFoundError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        # "Caught ..." is what `work` raised. All else but a RuntimeError comes of fetching a result
        # from a worker that is gone.
        if first.startswith("Caught") or (
            isinstance(error, RuntimeError) and not first.startswith("DataLoader worker")
        ):
            raise
        raise _Died(first) from None
    finally:
        if watchman is not None and watchman.ident is not None:
            watchman.stop()


@contextlib.contextmanager
def _no_handler_of_torch() -> Generator[None]:
    """Keep torch's SIGCHLD handler out: it raises wherever the main thread is, in mid-step too.

    Without it, a dead worker is noticed within 5 s where its result is waited for.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)


def _noted(items: Iterable[Task], waiting: deque[Task]) -> Iterator[Task]:
    for item in items:
        waiting.append(item)
        yield item


def _replace(found: list[Late], avoid: Callable[[int], None] | None, replaced: int) -> None:
    """Say that workers are replaced, and why."""
    for late in found:
        why = "was stopped" if late.stopped else "did not get on"
        if replaced > _MOST_REPLACED:
            raise Failure(
                f"A decoding process {why}, {replaced} times in a row without a result. Look at "
                "the disk or network that the data is on, or use other --data.workers."
            )
        log.warning("Decoding process %d %s. All are started anew.", late.process, why)
        if late.sample >= 0 and not late.stopped and avoid is not None:
            avoid(late.sample)


def _loader(work: Callable[[Task], T], items: Iterable[Task], workers: int) -> DataLoader[T]:
    return DataLoader(
        _Work(work),
        batch_size=None,
        sampler=cast(Any, items),
        num_workers=workers,
        prefetch_factor=AHEAD if workers else None,
        worker_init_fn=prepare,
        collate_fn=_same,
        generator=torch.Generator(),  # or each start would draw from the one that trains
    )


def prepare(worker: int) -> None:
    """Make this process a worker; called by torch in each one."""
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(1)
    # Not 1: after a fork that would wait for ever for the threads of the parent's pool to end.
    cv2.setNumThreads(0)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the one that started it is gone.

    torch asks only where it waits for work. A worker whose result does not fit into the pipe waits
    for ever for its reader: of a training that `kill -9` ended it kept the memory, and took no
    signal but another one.
    """
    parent = multiprocessing.parent_process()
    while parent is not None and os.getppid() == parent.pid:
        time.sleep(1.0)
    if parent is not None:
        os._exit(1)


class _Work(Dataset[T], Generic[Task, T]):
    def __init__(self, work: Callable[[Task], T]) -> None:
        self._work = work

    def __getitem__(self, index: Task) -> T:
        return self._work(index)


def _same(item: Any) -> Any:
    return item
