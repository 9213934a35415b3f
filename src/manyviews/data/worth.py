"""Whether it pays to keep decoded images, and where; then they are kept."""

import logging
import mmap
import os
import time
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import torch

from manyviews.core import comm
from manyviews.core.sample import Source, Unreadable
from manyviews.data.free_space import free_disk, free_memory
from manyviews.data.settings import Data
from manyviews.data.store import NOWHERE, Arrangement, Kept, Place, Store, create, join

log = logging.getLogger("manyviews")

_SAMPLE, _PATIENCE = 16, 0.5
"""Images that are decoded to see whether it pays, and the seconds after which these are enough."""
_CHEAP = 3.0
"""From so many times the cost of a copy on, decoding is worth being spared."""
_USEFUL = 0.2
"""Share of the images that has to fit."""
_GB = 10**9


@dataclass(frozen=True)
class Costs:
    """What a few images cost.

    Attributes:
        room: bytes that one takes where it is kept, a mean.
        largest: bytes of the largest.
        channels: of each.
        decoding: seconds, a mean.
        copying: seconds to copy one, a mean.
    """

    room: float
    largest: int
    channels: int
    decoding: float
    copying: float


def costs(source: Source, how: Arrangement) -> Costs | None:
    """Decode a few images, spread evenly over the data; None where none of them can be read."""
    count = len(source)
    sizes: list[int] = []
    channels = 0
    decoding = copying = 0.0
    began = time.perf_counter()
    for index in np.unique(np.linspace(0, count - 1, min(_SAMPLE, count)).round().astype(int)):
        try:
            pixels = source.open(int(index))["image"].read()
            start = time.perf_counter()  # of the second time: the file is in memory then, as later
            pixels = source.open(int(index))["image"].read()
            decoded = time.perf_counter()
        except Unreadable:
            continue
        pixels.copy()
        copying += time.perf_counter() - decoded
        decoding += decoded - start
        height, width, channels = pixels.shape
        sizes.append(how.size((height, width, channels)))
        if decoded - began > _PATIENCE:
            break
    if not sizes:
        return None
    pages = [-(-size // mmap.PAGESIZE) * mmap.PAGESIZE for size in sizes]
    number = len(sizes)
    return Costs(sum(pages) / number, max(sizes), channels, decoding / number, copying / number)


@dataclass(frozen=True)
class Choice:
    """Where images are kept ("" for nowhere), in how many bytes, and what to tell the user."""

    where: str
    budget: int = 0
    said: str = ""


def choose(
    data: Data, seen: Costs, *, count: int, epochs: float, seconds: float, processes: int,
    free: dict[str, int],
) -> Choice:  # fmt: skip
    """Decide.

    Args:
        data: the settings.
        seen: what images cost.
        count: images.
        epochs: that are to come; infinite where only seconds are known.
        seconds: that they are given; infinite where epochs are known.
        processes: that decode.
        free: bytes of "memory" and of "file".
    """
    whole = seen.room * count
    where = "memory" if data.store == "auto" else data.store
    budget = int(data.store_gb * _GB) or free[where] // 2
    share = min(1.0, budget / whole)
    if data.store == "auto":
        pass_ = count * seen.decoding / max(1, processes)
        if epochs < 2 or seconds < 2 * pass_ or seen.decoding < _CHEAP * seen.copying:
            return Choice("")
        if share < _USEFUL:
            return Choice(
                "",
                said=f"Decoded images are not kept: they would take about {_size(whole)}, and "
                f"{_size(budget)} may be used. --data.store file keeps them on disk.",
            )
    part = "" if share == 1 else f"{share:.0%} of the "
    return Choice(
        where,
        budget,
        f"{part}decoded images are kept in {'memory' if where == 'memory' else 'a file'} for later "
        f"epochs: about {_size(min(whole, budget))}, at most {_size(budget)}",
    )


def keep(
    source: Source,
    data: Data,
    *,
    epochs: float,
    seconds: float,
    processes: int,
    folder: Path,
    device: torch.device,
    how: Arrangement,
) -> Kept | None:
    """The same source, with its images decoded once; None where that does not pay.

    The first rank of a machine decides, and the others join its store.

    Args:
        source: the data.
        data: the settings.
        epochs: that are to come; infinite where only seconds are known.
        seconds: that they are given; infinite where epochs are known.
        processes: of this machine that decode.
        folder: where a file would lie.
        device: of this rank, for asking the others.
        how: images are to lie where they are kept.
    """
    if data.store == "off" or source.streams != ("image",) or source.stack:
        return None
    rank = int(os.environ.get("LOCAL_RANK", "0")) if comm.world_size() > 1 else 0
    store: Store | None = None
    if rank == 0:
        store = _opened(
            source, data, how, epochs=epochs, seconds=seconds, processes=processes, folder=folder
        )
    if comm.world_size() > 1:
        place = store.place if store else NOWHERE
        row = torch.tensor([[int(number) for number in astuple(place)]], device=device)
        first = comm.gather(row)[comm.rank() - rank].tolist()
        if rank and first[0]:
            store = join(Place(*first[:-1], mapped=bool(first[-1])), how)
    return None if store is None else Kept(source, store)


def _opened(
    source: Source,
    data: Data,
    how: Arrangement,
    *,
    epochs: float,
    seconds: float,
    processes: int,
    folder: Path,
) -> Store | None:
    if data.store == "auto" and epochs < 2:
        return None
    seen = costs(source, how)
    if seen is None:
        return None
    try:
        free = {"memory": free_memory()[0], "file": 0}
        if data.store == "file":
            folder.mkdir(parents=True, exist_ok=True)
            free["file"] = free_disk(folder)[0]
        choice = choose(
            data, seen, count=len(source), epochs=epochs, seconds=seconds, processes=processes,
            free=free,
        )  # fmt: skip
        store = None
        if choice.where:
            place = folder if choice.where == "file" else None
            store = create(
                len(source), channels=seen.channels, largest=seen.largest, budget=choice.budget,
                folder=place, how=how,
            )  # fmt: skip
        if choice.said:
            log.info("%s", choice.said)
        return store
    except OSError as error:
        log.warning(
            "Decoded images are not kept: %s. Training goes on and decodes them in every epoch.",
            error.strerror or error,
        )
        return None


def _size(size: float) -> str:
    return f"{size / _GB:.3g} GB" if size >= _GB else f"{size / 10**6:.3g} MB"
