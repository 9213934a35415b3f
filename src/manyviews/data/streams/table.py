"""What files of points come down to: columns, and how many rows of them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class CloudFields:
    """What was read.

    Attributes:
        xyz: [N, 3].
        colour: [N, 3] as the file has it, or None.
        normals: likewise.
    """

    xyz: NDArray[np.float64]
    colour: NDArray[Any] | None
    normals: NDArray[Any] | None


@dataclass(frozen=True)
class CloudTable:
    """What a header says, and how to read what it speaks of.

    Attributes:
        count: of points.
        has: what they have besides their places.
        load: reads them; raises any exception.
    """

    count: int
    has: tuple[str, ...]
    load: Callable[[], CloudFields]


def check_bytes(path: str, start: int, size: int, count: int) -> None:
    """Refuse a file that is too short for what its header says, before anything is allocated.

    Args:
        path: of the file.
        start: where the points begin.
        size: bytes that they take at least.
        count: of points, for the message.

    Raises:
        ValueError: it is.
    """
    there = Path(path).stat().st_size - start
    if there < size:
        raise ValueError(
            f"is cut off: its header says {count:,} points, which take {size:,} bytes or more, "
            f"and {max(0, there):,} follow"
        )
