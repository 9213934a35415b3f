"""One micro-batch, as workers make it: samples read, unreadable ones replaced, views made."""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import get_worker_info

from manyviews.core import Failure
from manyviews.core.sample import Arrays, Layout, Source, Unreadable
from manyviews.data import workers as processes
from manyviews.data.order import Order, Pass
from manyviews.data.packet import Packet, rooms
from manyviews.data.pairs import Pairs
from manyviews.data.quarantine import Bad
from manyviews.data.slots import Slots
from manyviews.data.timeouts import Doing, Unanswered, within

SHARED_MEMORY = Path("/dev/shm")


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
class Make:
    """Micro-batch number i of this rank, counted from step 0. Runs in workers."""

    source: Source
    pipeline: Makes
    order: Order | Pass
    lent: Slots | None
    most_bad: int
    senders: int
    doing: Doing | None = None
    pairs: Pairs | None = None
    avoid: set[int] = field(default_factory=set[int])

    def __call__(self, task: tuple[int, int | None]) -> Packet:
        """Micro-batch `task[0]`, its views in the slot `task[1]` where there is one."""
        packet = self._packet(*task)
        self._at(Doing.IDLE)
        return packet

    def _at(self, sample: int) -> None:
        """Let the main process know what this worker is at."""
        worker = get_worker_info()
        if self.doing is not None and worker is not None:
            self.doing.begin(worker.id, sample)

    def _packet(self, item: int, slot: int | None) -> Packet:
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
                index, items = self.read(wanted, epoch, bad)
            others = None if self.pairs is None else self.others(index, items, epoch, bad)
            if len(bad) > self.most_bad:
                return Packet(bad=tuple(bad.values()))
            read = time.perf_counter()
            self._at(Doing.MAKING)
            room = self.lent.room(slot) if slot is not None and self.lent is not None else None
            views = rooms(self.pipeline.makes, len(index), room)
            cues = self.make(items, index, others, epoch, views) if len(index) else {}
            if room is None:
                packet = self._pack(views, cues, index)
            else:  # views stay where they are; what else there is is small
                packet = Packet({}, dict(cues), index.copy(), slot=slot)
        except Failure as failure:  # a worker's exception would arrive with its traceback as text
            return Packet(bad=tuple(bad.values()), failure=failure)
        seconds = {"reading": read - began, "making": time.perf_counter() - read}
        return replace(packet, bad=tuple(bad.values()), **seconds)

    def read(
        self, wanted: NDArray[np.int64], epoch: int, bad: dict[str, Bad]
    ) -> tuple[NDArray[np.int64], list[Any]]:
        """Samples, and the positions they are from; fills `bad`, and ends where it is too full."""
        pipeline = self.pipeline if self.pairs is None else self.pairs.own
        index: list[int] = []
        items: list[Any] = []
        for here in wanted.tolist():
            again = True
            while again and len(bad) <= self.most_bad:
                self._at(here)
                try:
                    items.append(self._sample(here, epoch, pipeline))
                    index.append(here)
                    again = False
                except Unreadable as error:
                    bad[error.path] = Bad(error.path, error.reason)
                    again = self.order.replaces
                    here = (here + 1) % len(self.source)
        return np.array(index, dtype=np.int64), items

    def others(
        self, index: NDArray[np.int64], own: Any, epoch: int, bad: dict[str, Bad]
    ) -> tuple[NDArray[np.int64], Any]:
        """The partners of these samples and what was read of them; fills `bad`.

        A sample whose partner cannot be read is its own; of one that cannot be read in the places
        of those views either, what was read for the others is used.
        """
        assert self.pairs is not None
        where = self.pairs.partners(index, epoch)
        stack = self.pipeline.stacked(self.source)
        if stack is not None:
            return where, stack[where]
        items: list[Any] = []
        for row, here in enumerate(index.tolist()):
            found = own[row]
            for there in dict.fromkeys((int(where[row]), here)):
                self._at(there)
                where[row] = there
                try:
                    found = self._sample(there, epoch, self.pairs.other)
                    break
                except Unreadable as error:
                    bad[error.path] = Bad(error.path, error.reason)
            items.append(found)
        return where, items

    def make(
        self,
        items: Any,
        index: NDArray[np.int64],
        others: tuple[NDArray[np.int64], Any] | None,
        epoch: int,
        views: Mapping[str, NDArray[Any]],
    ) -> Arrays:
        """Fill `views`; return the cues."""
        if self.pairs is None or others is None:
            return self.pipeline.make(items, index, epoch, views)
        where, their = others
        cues = dict(self.pairs.own.make(items, index, epoch, views))
        for name, made in self.pairs.other.make(their, where, epoch, views).items():
            theirs = self.pairs.theirs[name.partition(".")[0]]
            cues.setdefault(name, made)[:, theirs] = made[:, theirs]
        return cues

    def grouped(
        self, wanted: NDArray[np.int64], epoch: int
    ) -> tuple[list[int], dict[str, NDArray[Any]], Arrays]:
        """As `seen`, with views of partners."""
        where, items = self.read(wanted, epoch, {})
        views = rooms(self.pipeline.makes, len(where))
        if not len(where):
            return [], views, {}
        others = self.others(where, items, epoch, {})
        return where.tolist(), views, self.make(items, where, others, epoch, views)

    def _sample(self, index: int, epoch: int, pipeline: Makes) -> Any:
        """What a pipeline reads of a sample; one that did not answer is not asked again."""
        late = str(Unanswered())
        if index in self.avoid:
            raise Unreadable(self.source.name(index), late)
        try:
            with within():
                return pipeline.read(self.source, index, epoch)
        except Unanswered:
            self.avoid.add(index)
            raise Unreadable(self.source.name(index), late) from None
        except Unreadable as error:
            if error.reason == late:
                self.avoid.add(index)
            raise

    def _pack(self, views: Arrays, cues: Arrays, index: NDArray[np.int64]) -> Packet:
        size = sum(array.nbytes for group in (views, cues) for array in group.values())
        piped = self.senders > 0 and not self._fits(size)
        pack = _to_tensor if self.senders and not piped else np.ascontiguousarray
        return Packet(
            {name: pack(array) for name, array in views.items()},
            {name: pack(array) for name, array in cues.items()},
            pack(index.copy()),
            piped=piped,
        )

    def _fits(self, size: int) -> bool:
        """Whether shared memory has room; where not (small in containers) a pipe takes it."""
        if not SHARED_MEMORY.exists():
            return True  # shared memory is not a file system here
        return shutil.disk_usage(SHARED_MEMORY).free > processes.AHEAD * self.senders * size


def _to_tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
