"""Micro-batches of views, made ahead by worker processes, the same for any number of them.

What a step holds is a pure function of the data, the seed and the step: nothing here has state
that would have to be saved.
"""

import logging
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyviews.core import Failure
from manyviews.data import workers as processes
from manyviews.data.order import Order
from manyviews.data.quarantine import Bad
from manyviews.data.slots import Slots, slots
from manyviews.data.sources import Source
from manyviews.data.streams.image import Pixels, Unreadable

_SHARED_MEMORY = Path("/dev/shm")

log = logging.getLogger("manyviews")

OnBad = Callable[[Bad], "int | None"]
"""Told of each unreadable file once; may return how many are known from all ranks and before."""

Arrays = Mapping[str, NDArray[Any]]


class ViewMaker(Protocol):
    """Makes views: (images, index [B] int64, epoch) -> (views [B, V, H, W, C] uint8, cues)."""

    def __call__(
        self, images: Sequence[Pixels] | Pixels, index: NDArray[np.int64], epoch: int
    ) -> tuple[Arrays, Arrays]:
        """One micro-batch of views and cues."""
        ...


@runtime_checkable
class Direct(Protocol):
    """An engine that makes views where it is told to, in as many bytes an image as it says."""

    @property
    def sample_bytes(self) -> int:
        """Of all views of an image."""
        ...

    def __call__(
        self,
        images: Sequence[Pixels] | Pixels,
        index: NDArray[np.int64],
        epoch: int,
        *,
        into: NDArray[np.uint8] | None = None,
    ) -> tuple[Arrays, Arrays]:
        """One micro-batch; its views lie in `into` one after the other."""
        ...


@dataclass(frozen=True)
class Raw:
    """One micro-batch as the engine made it, on the CPU.

    Attributes:
        views: name -> [b, V, H, W, C] uint8.
        cues: name -> [b, V, ...].
        index: [b] int64, position in the data set of the image that was read: where a file was
            unreadable that of its replacement.
    """

    views: Mapping[str, Tensor]
    cues: Mapping[str, Tensor]
    index: Tensor


@dataclass
class Spent:
    """Seconds of work on the batches so far, over all workers: what a wait for data is made of."""

    reading: float = 0.0
    making: float = 0.0


def batches(
    source: Source,
    engine: ViewMaker,
    *,
    seed: int,
    global_batch: int,
    accumulate: int = 1,
    start_step: int,
    stop_step: int,
    workers: int = -1,
    max_bad: float = 0.01,
    on_bad: OnBad,
    rank: int = 0,
    world: int = 1,
    spent: Spent | None = None,
) -> Iterator[list[Raw]]:
    """This rank's micro-batches of the steps start_step to stop_step - 1, a list for each step.

    An unreadable file is replaced by the next readable one of the data set, wrapping.

    Args:
        source: the images; where `source.array` is not None the engine gets slices of it.
        engine: makes the views; picklable.
        seed: decides the order, together with the epoch.
        global_batch: samples per optimiser step, over all ranks and micro-batches.
        accumulate: micro-batches per step and rank.
        start_step: any step; the stream from there is what it would have been.
        stop_step: one past the last.
        workers: processes of this rank; -1 chooses, 0 works in this process.
        max_bad: share of files that may be unreadable.
        on_bad: called in this process, before the step that met the file is yielded.
        rank: of `world` processes.
        world: number of processes.
        spent: what the work took is added to it.

    Raises:
        UsageError: the data has fewer images than a batch, or the batch does not divide.
        Failure: more unreadable files than `max_bad` allows, or a worker died.
    """
    order = Order(
        count=len(source), batch=global_batch, accumulate=accumulate, seed=seed, rank=rank,
        world=world,
    )  # fmt: skip
    running = processes.count(workers, in_memory=source.array is not None)
    lent = None
    if running and isinstance(engine, Direct):
        # Those ahead, the step that is in use, the batch that arrives, and the one after it, which
        # is asked for before that arrives.
        size = engine.sample_bytes * order.local
        lent = slots(running * processes.AHEAD + accumulate + 2, size)
    make = _Make(source, engine, order, lent, most_bad=_most(max_bad, len(source)), senders=running)
    items = range(start_step * accumulate, stop_step * accumulate)
    return _steps(make, items, max_bad, on_bad, spent or Spent())


def _steps(
    make: "_Make", items: range, max_bad: float, on_bad: OnBad, spent: Spent
) -> Iterator[list[Raw]]:
    seen: set[str] = set()
    step: list[Raw] = []
    told = False
    tasks = ((item, make.lent.take() if make.lent else None) for item in items)
    with closing(processes.each(make, tasks, workers=make.senders)) as packets:
        for packet, raw in _received(packets, make.lent):
            for bad in packet.bad:
                if bad.path in seen:
                    continue
                seen.add(bad.path)
                known = max(len(seen), on_bad(bad) or 0)
                if known > make.most_bad:
                    raise Failure(_too_many(known, make.order.count, max_bad, bad))
            if packet.failure is not None:
                raise packet.failure
            spent.reading += packet.reading
            spent.making += packet.making
            if packet.piped and not told:
                told = True
                log.warning("%s", _too_small(make.senders))
            step.append(raw)
            if len(step) == make.order.accumulate:
                yield step
                step = []


def _received(packets: Iterator["_Packet"], lent: Slots | None) -> Iterator[tuple["_Packet", Raw]]:
    """Packets and what is in them; where there is a GPU in memory that it reads by itself.

    A thread copies the batch there while this one trains on the batch before.
    """
    if not torch.cuda.is_available():
        yield from ((packet, packet.raw(lent)) for packet in packets)
        return
    waiting: tuple[_Packet, Future[Raw]] | None = None
    with ThreadPoolExecutor(max_workers=1) as thread:
        for packet in packets:
            pinned = thread.submit(_pinned, packet.raw(lent))
            if waiting is not None:
                yield waiting[0], waiting[1].result()
            waiting = packet, pinned
        if waiting is not None:
            yield waiting[0], waiting[1].result()


def _pinned(raw: Raw) -> Raw:
    views = {name: view.pin_memory() for name, view in raw.views.items()}
    cues = {name: cue.pin_memory() for name, cue in raw.cues.items()}
    return Raw(views, cues, raw.index.pin_memory())


def _most(max_bad: float, count: int) -> int:
    return math.floor(max_bad * count + 1e-9)  # 0.29 * 100 is a little less than 29


def _too_small(senders: int) -> str:
    return (
        f"Shared memory ({_SHARED_MEMORY}) has no room for the batches of {senders} workers, so "
        "they go through a pipe, which is slower. Make it larger (docker run --shm-size 8g), or "
        "use fewer --data.workers."
    )


def _too_many(known: int, count: int, max_bad: float, last: Bad) -> str:
    return (
        f"{known:,} of {count:,} files cannot be read, more than --data.max-bad {max_bad:g} "
        f"allows; the last is {last.path}: {last.reason}. Run `manyviews doctor` on the data, "
        "mend or remove those files and delete quarantine.jsonl, or raise --data.max-bad."
    )


@dataclass(frozen=True)
class _Packet:
    """A micro-batch on its way from a worker.

    Views lie in the slot, and here are their shapes; or they are here, as arrays if they go through
    a pipe and as tensors if they are copied to new shared memory, which this process maps.
    """

    views: Mapping[str, Any] = field(default_factory=dict[str, Any])
    cues: Mapping[str, Any] = field(default_factory=dict[str, Any])
    index: Any = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    slot: int | None = None
    bad: tuple[Bad, ...] = ()
    failure: Failure | None = None
    reading: float = 0.0
    making: float = 0.0
    piped: bool = False

    def raw(self, lent: Slots | None) -> Raw:
        """What is in it, as tensors."""
        views = dict[str, Any]() if self.slot is not None else dict(self.views)
        if self.slot is not None and lent is not None:
            left = lent.claim(self.slot)
            for name, shape in self.views.items():
                size = math.prod(shape)
                views[name], left = left[:size].view(shape), left[size:]
        return Raw(_tensors(views), _tensors(self.cues), torch.as_tensor(self.index))


def _tensors(group: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: torch.as_tensor(value) for name, value in group.items()}


@dataclass(frozen=True)
class _Make:
    """Micro-batch number i of this rank, counted from step 0. Runs in workers."""

    source: Source
    engine: ViewMaker
    order: Order
    lent: Slots | None
    most_bad: int
    senders: int

    def __call__(self, task: tuple[int, int | None]) -> _Packet:
        item, slot = task
        step, part = divmod(item, self.order.accumulate)
        wanted = self.order.indices(step, part)
        bad: dict[str, Bad] = {}
        began = time.perf_counter()
        try:
            if self.source.array is not None:
                index, images = wanted, self.source.array[wanted]
            else:
                index, images = self._read(wanted, bad)
            if len(bad) > self.most_bad:
                return _Packet(bad=tuple(bad.values()))
            read = time.perf_counter()
            epoch = self.order.epoch(step)
            if slot is not None and self.lent is not None:
                direct = cast(Direct, self.engine)  # or nothing would have been lent
                views, cues = direct(images, index, epoch, into=self.lent.room(slot))
                packet = _in_slot(slot, views, cues, index)
            else:
                views, cues = self.engine(images, index, epoch)
                packet = self._pack(views, cues, index)
        except Failure as failure:  # a worker's exception would arrive with its traceback as text
            return _Packet(bad=tuple(bad.values()), failure=failure)
        seconds = {"reading": read - began, "making": time.perf_counter() - read}
        return replace(packet, bad=tuple(bad.values()), **seconds)

    def _read(
        self, wanted: NDArray[np.int64], bad: dict[str, Bad]
    ) -> tuple[NDArray[np.int64], list[Pixels]]:
        """Images, and the positions they are from; fills `bad`, and ends where it is too full."""
        index = wanted.copy()
        images: list[Pixels] = []
        for place in range(len(index)):
            while len(images) == place and len(bad) <= self.most_bad:
                try:
                    images.append(self.source.read(int(index[place])))
                except Unreadable as error:
                    bad[error.path] = Bad(error.path, error.reason)
                    index[place] = (index[place] + 1) % len(self.source)
        return index, images

    def _pack(self, views: Arrays, cues: Arrays, index: NDArray[np.int64]) -> _Packet:
        size = sum(array.nbytes for group in (views, cues) for array in group.values())
        piped = self.senders > 0 and not self._fits(size)
        pack = _to_tensor if self.senders and not piped else np.ascontiguousarray
        return _Packet(
            {name: pack(array) for name, array in views.items()},
            {name: pack(array) for name, array in cues.items()},
            pack(index.copy()),
            piped=piped,
        )

    def _fits(self, size: int) -> bool:
        """Whether shared memory has room; where not (small in containers) a pipe takes it."""
        if not _SHARED_MEMORY.exists():
            return True  # shared memory is not a file system here
        return shutil.disk_usage(_SHARED_MEMORY).free > processes.AHEAD * self.senders * size


def _in_slot(slot: int, views: Arrays, cues: Arrays, index: NDArray[np.int64]) -> _Packet:
    """Views stay where they are; what else there is is small."""
    shapes = {name: view.shape for name, view in views.items()}
    return _Packet(shapes, dict(cues), index.copy(), slot=slot)


def _to_tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
