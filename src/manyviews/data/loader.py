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
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import get_worker_info

from manyviews.core import Failure
from manyviews.core.sample import Arrays, Layout, Source, Unreadable, memory
from manyviews.data import workers as processes
from manyviews.data.order import Order, Pass
from manyviews.data.patience import Doing, Unanswered, within
from manyviews.data.quarantine import Bad, most_bad
from manyviews.data.slots import Slots, slots

_SHARED_MEMORY = Path("/dev/shm")

log = logging.getLogger("manyviews")

OnBad = Callable[[Bad], "int | None"]
"""Told of each unreadable file once; may return how many are known from all ranks and before."""


class Makes(Protocol):
    """Makes views of samples: `views.pipeline.Pipeline`. Picklable."""

    @property
    def makes(self) -> Mapping[str, Layout]:
        """Family -> the layout of its raw views."""
        ...

    def read(self, source: Source, index: int, epoch: int) -> Any:
        """Decode what the views of one sample need. Raises `Unreadable`."""
        ...

    def stacked(self, source: Source) -> NDArray[np.uint8] | None:
        """All images [N, H, W, C], where nothing needs to be read."""
        ...

    def make(
        self, items: Any, index: NDArray[np.int64], epoch: int, into: Mapping[str, NDArray[Any]]
    ) -> Arrays:
        """Fill `into`, family -> [B, V, ...]; return the cues, "family.cue" -> [B, V, ...]."""
        ...


@dataclass(frozen=True)
class Raw:
    """One micro-batch as the pipeline made it, on the CPU.

    Attributes:
        views: family -> [b, V, ...] raw, as its layout says.
        cues: "family.cue" -> [b, V, ...].
        index: [b] int64, position in the data set of the sample that was read: where a file was
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
    pipeline: Makes,
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
        source: the samples.
        pipeline: makes the views.
        seed: decides the order, together with the epoch.
        global_batch: samples per optimiser step, over all ranks and micro-batches.
        accumulate: micro-batches per step and rank.
        start_step: any step; the stream from there is what it would have been.
        stop_step: one past the last.
        workers: processes of this rank; -1 chooses, 0 works in this process.
        max_bad: share of files that may be unreadable, see `quarantine.most_bad`.
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
    make = _maker_of(source, pipeline, order, workers, max_bad)
    items = range(start_step * accumulate, stop_step * accumulate)
    return _steps(make, items, max_bad, on_bad, spent or Spent())


def once(
    source: Source,
    pipeline: Makes,
    rows: range,
    *,
    batch: int,
    workers: int = -1,
    max_bad: float = 0.01,
    on_bad: OnBad,
) -> Iterator[Raw]:
    """These samples once each, in their order and of epoch 0; unreadable ones are left out.

    Args:
        source: the samples.
        pipeline: makes the views.
        rows: consecutive positions.
        batch: samples at a time; fewer where some cannot be read, and at the end.
        workers: processes of this rank; -1 chooses, 0 works in this process.
        max_bad: share of files that may be unreadable, see `quarantine.most_bad`.
        on_bad: called in this process, before a batch that met the file is yielded.

    Raises:
        Failure: more unreadable files than `max_bad` allows, or a worker died.
    """
    order = Pass(count=len(source), start=rows.start, stop=rows.stop, local=batch)
    make = _maker_of(source, pipeline, order, workers, max_bad)
    for [raw] in _steps(make, range(order.steps), max_bad, on_bad, Spent()):
        if len(raw.index):
            yield raw


def _maker_of(
    source: Source, pipeline: Makes, order: Order | Pass, workers: int, max_bad: float
) -> "_Make":
    running = processes.count(workers, in_memory=bool(source.stack))
    lent = None
    if running:
        # Those ahead, the step that is in use, the batch that arrives, and the one after it, which
        # is asked for before that arrives.
        size = packed(pipeline.makes, order.local)[1]
        lent = slots(running * processes.AHEAD + order.accumulate + 2, size)
    most = most_bad(max_bad, len(source))
    doing = Doing(running) if running else None
    return _Make(source, pipeline, order, lent, most_bad=most, senders=running, doing=doing)


def _steps(
    make: "_Make", items: range, max_bad: float, on_bad: OnBad, spent: Spent
) -> Iterator[list[Raw]]:
    seen: set[str] = set()
    step: list[Raw] = []
    told = False
    tasks = ((item, make.lent.take() if make.lent else None) for item in items)
    results = processes.each(
        make, tasks, workers=make.senders, doing=make.doing, avoid=make.avoid.add
    )
    with closing(results) as packets:
        for packet, raw in _received(packets, make.lent, make.pipeline.makes):
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


def _received(
    packets: Iterator["_Packet"], lent: Slots | None, makes: Mapping[str, Layout]
) -> Iterator[tuple["_Packet", Raw]]:
    """Packets and what is in them; where there is a GPU in memory that it reads by itself.

    A thread copies the batch there while this one trains on the batch before.
    """
    if not torch.cuda.is_available():
        yield from ((packet, packet.raw(lent, makes)) for packet in packets)
        return
    waiting: tuple[_Packet, Future[Raw]] | None = None
    with ThreadPoolExecutor(max_workers=1) as thread:
        for packet in packets:
            pinned = thread.submit(_pinned, packet.raw(lent, makes))
            if waiting is not None:
                yield waiting[0], waiting[1].result()
            waiting = packet, pinned
        if waiting is not None:
            yield waiting[0], waiting[1].result()


def _pinned(raw: Raw) -> Raw:
    views = {name: view.pin_memory() for name, view in raw.views.items()}
    cues = {name: cue.pin_memory() for name, cue in raw.cues.items()}
    return Raw(views, cues, raw.index.pin_memory())


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

    Views lie in the slot, or they are here, as arrays if they go through a pipe and as tensors if
    they are copied to new shared memory, which this process maps.
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

    def raw(self, lent: Slots | None, makes: Mapping[str, Layout]) -> Raw:
        """What is in it, as tensors."""
        views = dict[str, Any](self.views)
        if self.slot is not None and lent is not None:
            room = lent.claim(self.slot)
            for name, area in packed(makes, len(self.index))[0].items():
                part = room[area.start : area.start + area.size]
                views[name] = part.view(_of_torch(area.dtype)).view(area.shape)
        return Raw(_tensors(views), _tensors(self.cues), torch.as_tensor(self.index))


@dataclass(frozen=True)
class Area:
    """Where an array lies in memory: from `start` on, `size` bytes."""

    start: int
    size: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


_ALIGNED = 64


def _of_torch(dtype: np.dtype[Any]) -> torch.dtype:
    return torch.from_numpy(np.empty(0, dtype)).dtype


def packed(makes: Mapping[str, Layout], rows: int) -> tuple[dict[str, Area], int]:
    """Where the views of so many samples lie in one piece of memory, and how large it is."""
    areas: dict[str, Area] = {}
    start = 0
    for name, layout in makes.items():
        shape = (rows, layout.count, *layout.shape)
        size = math.prod(shape) * layout.dtype.itemsize
        areas[name] = Area(start, size, shape, layout.dtype)
        start += -(-size // _ALIGNED) * _ALIGNED
    return areas, start


def rooms(
    makes: Mapping[str, Layout], rows: int, piece: NDArray[np.uint8] | None = None
) -> dict[str, NDArray[Any]]:
    """Arrays for the views of so many samples, family -> [rows, V, ...], in one piece of memory."""
    areas, size = packed(makes, rows)
    if piece is None:
        piece = memory(size)
    return {
        name: piece[area.start : area.start + area.size].view(area.dtype).reshape(area.shape)
        for name, area in areas.items()
    }


def _tensors(group: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: torch.as_tensor(value) for name, value in group.items()}


@dataclass(frozen=True)
class _Make:
    """Micro-batch number i of this rank, counted from step 0. Runs in workers."""

    source: Source
    pipeline: Makes
    order: Order | Pass
    lent: Slots | None
    most_bad: int
    senders: int
    doing: Doing | None = None
    avoid: set[int] = field(default_factory=set[int])

    def __call__(self, task: tuple[int, int | None]) -> _Packet:
        packet = self._packet(*task)
        self._at(Doing.IDLE)
        return packet

    def _at(self, sample: int) -> None:
        """Let the main process know what this worker is at."""
        worker = get_worker_info()
        if self.doing is not None and worker is not None:
            self.doing.begin(worker.id, sample)

    def _packet(self, item: int, slot: int | None) -> _Packet:
        step, part = divmod(item, self.order.accumulate)
        wanted = self.order.indices(step, part)
        bad: dict[str, Bad] = {}
        began = time.perf_counter()
        epoch = self.order.epoch(step)
        try:
            stack = self.pipeline.stacked(self.source)
            if stack is not None:
                index, items = wanted, stack[wanted]
            else:
                index, items = self._read(wanted, epoch, bad)
            if len(bad) > self.most_bad:
                return _Packet(bad=tuple(bad.values()))
            read = time.perf_counter()
            self._at(Doing.MAKING)
            room = self.lent.room(slot) if slot is not None and self.lent is not None else None
            views = rooms(self.pipeline.makes, len(index), room)
            cues = self.pipeline.make(items, index, epoch, views) if len(index) else {}
            if room is None:
                packet = self._pack(views, cues, index)
            else:  # views stay where they are; what else there is is small
                packet = _Packet({}, dict(cues), index.copy(), slot=slot)
        except Failure as failure:  # a worker's exception would arrive with its traceback as text
            return _Packet(bad=tuple(bad.values()), failure=failure)
        seconds = {"reading": read - began, "making": time.perf_counter() - read}
        return replace(packet, bad=tuple(bad.values()), **seconds)

    def _read(
        self, wanted: NDArray[np.int64], epoch: int, bad: dict[str, Bad]
    ) -> tuple[NDArray[np.int64], list[Any]]:
        """Samples, and the positions they are from; fills `bad`, and ends where it is too full."""
        index: list[int] = []
        items: list[Any] = []
        for here in wanted.tolist():
            again = True
            while again and len(bad) <= self.most_bad:
                self._at(here)
                try:
                    items.append(self._sample(here, epoch))
                    index.append(here)
                    again = False
                except Unreadable as error:
                    bad[error.path] = Bad(error.path, error.reason)
                    again = self.order.replaces
                    here = (here + 1) % len(self.source)
        return np.array(index, dtype=np.int64), items

    def _sample(self, index: int, epoch: int) -> Any:
        """What the pipeline reads of a sample; one that did not answer is not asked again."""
        late = str(Unanswered())
        if index in self.avoid:
            raise Unreadable(self.source.name(index), late)
        try:
            with within():
                return self.pipeline.read(self.source, index, epoch)
        except Unanswered:
            self.avoid.add(index)
            raise Unreadable(self.source.name(index), late) from None
        except Unreadable as error:
            if error.reason == late:
                self.avoid.add(index)
            raise

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


def seen(
    source: Source, pipeline: Makes, index: Sequence[int], *, epoch: int = 0
) -> tuple[list[int], dict[str, NDArray[Any]], Arrays]:
    """Views of these samples, made in this process, unreadable ones left out.

    Returns:
        The positions that could be read; family -> [B, V, ...] raw; the cues.
    """
    items, _ = opened(source, pipeline, index, epoch=epoch)
    return list(items), *made(pipeline, items, epoch=epoch)


def opened(
    source: Source, pipeline: Makes, index: Sequence[int], *, epoch: int = 0
) -> tuple[dict[int, Any], dict[int, Unreadable]]:
    """Decode what the views of these samples need, in this process.

    Returns:
        Position -> what was read; position -> why it could not be.
    """
    items: dict[int, Any] = {}
    bad: dict[int, Unreadable] = {}
    for i in index:
        try:
            with within():
                items[i] = pipeline.read(source, i, epoch)
        except Unreadable as error:
            bad[i] = error
        except Unanswered as late:
            bad[i] = Unreadable(source.name(i), str(late))
    return items, bad


def made(
    pipeline: Makes, items: Mapping[int, Any], *, epoch: int = 0
) -> tuple[dict[str, NDArray[Any]], Arrays]:
    """Views of what was read, position -> item: family -> [B, V, ...] raw; and the cues."""
    views = rooms(pipeline.makes, len(items))
    where = np.array(list(items), dtype=np.int64)
    cues = pipeline.make(list(items.values()), where, epoch, views) if len(items) else {}
    return views, cues


def _to_tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
