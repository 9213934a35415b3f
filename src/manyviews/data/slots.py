"""Memory that batches are made in by worker processes and used in by this one, again and again.

New pages cost more than what is written to them: made by a worker, sent and mapped, a batch of
small images costs half as much again as in memory that both sides already have.
"""

import ctypes
import mmap
import weakref

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.multiprocessing import get_start_method


class Slots:
    """Areas of equal size, shared with processes that are forked later.

    The memory has no name and no file: it needs no room in /dev/shm, and goes with its last user.

    Attributes:
        size: of an area, in bytes.
    """

    def __init__(self, count: int, size: int) -> None:
        """Reserve addresses; pages come when they are written to.

        Raises:
            OSError: the system has not so much memory.
        """
        self.size = size
        self._areas = [mmap.mmap(-1, size) for _ in range(count)]
        self._free = list(range(count))

    def take(self) -> int | None:
        """The number of an area that nobody uses: the last that became free, or None."""
        return self._free.pop() if self._free else None

    def room(self, number: int) -> NDArray[np.uint8]:
        """[size] uint8: an area to write to, in any process."""
        return np.frombuffer(self._areas[number], dtype=np.uint8)

    def claim(self, number: int) -> Tensor:
        """[size] uint8: what was written. The area is free when no tensor looks at it any more."""
        lease = (ctypes.c_ubyte * self.size).from_buffer(self._areas[number])
        weakref.finalize(lease, self._free.append, number).atexit = False
        return torch.frombuffer(lease, dtype=torch.uint8)


def slots(count: int, size: int) -> Slots | None:
    """Such memory, or None where workers are not forked or there is not so much of it."""
    if not size or get_start_method() != "fork":
        return None
    try:
        return Slots(count, size)
    except OSError:
        return None
