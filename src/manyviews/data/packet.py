"""A micro-batch of views on its way from a worker, and where it lies in memory."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyviews.core import Failure
from manyviews.core.sample import Layout, memory
from manyviews.data.quarantine import Bad
from manyviews.data.slots import Slots


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


@dataclass(frozen=True)
class Packet:
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
