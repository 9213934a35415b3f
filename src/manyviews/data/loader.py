"""Micro-batches of views, made ahead by worker processes, the same for any number of them.

What a step holds is a pure function of the data, the seed and the step: nothing here has state
that would have to be saved.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace

import torch

from manyviews.core import Failure
from manyviews.core.sample import Layout, Source
from manyviews.data import workers as processes
from manyviews.data.micro_batch import SHARED_MEMORY, Make, Makes
from manyviews.data.order import Order, Pass
from manyviews.data.packet import Packet, Raw, packed
from manyviews.data.pairs import Pairs
from manyviews.data.quarantine import Bad, most_bad
from manyviews.data.slots import Slots, slots
from manyviews.data.timeouts import Doing

log = logging.getLogger("manyviews")

OnBad = Callable[[Bad], "int | None"]
"""Told of each unreadable file once; may return how many are known from all ranks and before."""


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
    pairs: Pairs | None = None,
) -> Iterator[list[Raw]]:
    """This rank's micro-batches of the steps start_step to stop_step - 1, a list for each step.

    An unreadable file is replaced by the next readable one of the data set, wrapping; where it is
    a sample's partner, by that sample.

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
        pairs: who makes views that are of other samples, where there are some.

    Raises:
        UsageError: the data has fewer images than a batch, or the batch does not divide.
        Failure: more unreadable files than `max_bad` allows, or a worker died.
    """
    order = Order(
        count=len(source), batch=global_batch, accumulate=accumulate, seed=seed, rank=rank,
        world=world,
    )  # fmt: skip
    make = replace(_maker_of(source, pipeline, order, workers, max_bad), pairs=pairs)
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
) -> Make:
    running = processes.count(workers, in_memory=bool(source.stack))
    lent = None
    if running:
        # Those ahead, the step that is in use, the batch that arrives, and the one after it, which
        # is asked for before that arrives.
        size = packed(pipeline.makes, order.local)[1]
        lent = slots(running * processes.AHEAD + order.accumulate + 2, size)
    most = most_bad(max_bad, len(source))
    doing = Doing(running) if running else None
    return Make(source, pipeline, order, lent, most_bad=most, senders=running, doing=doing)


def _steps(
    make: Make, items: range, max_bad: float, on_bad: OnBad, spent: Spent
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
    packets: Iterator[Packet], lent: Slots | None, makes: Mapping[str, Layout]
) -> Iterator[tuple[Packet, Raw]]:
    """Packets and what is in them; where there is a GPU in memory that it reads by itself.

    A thread copies the batch there while this one trains on the batch before.
    """
    if not torch.cuda.is_available():
        yield from ((packet, packet.raw(lent, makes)) for packet in packets)
        return
    waiting: tuple[Packet, Future[Raw]] | None = None
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
        f"Shared memory ({SHARED_MEMORY}) has no room for the batches of {senders} workers, so "
        "they go through a pipe, which is slower. Make it larger (docker run --shm-size 8g), or "
        "use fewer --data.workers."
    )


def _too_many(known: int, count: int, max_bad: float, last: Bad) -> str:
    return (
        f"{known:,} of {count:,} files cannot be read, more than --data.max-bad {max_bad:g} "
        f"allows; the last is {last.path}: {last.reason}. Run `manyviews doctor` on the data, "
        "mend or remove those files and delete quarantine.jsonl, or raise --data.max-bad."
    )
