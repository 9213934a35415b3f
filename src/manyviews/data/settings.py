"""What data a run reads, and how."""

from dataclasses import dataclass
from typing import Annotated, Literal

from manyviews.core.ranges import Count, NotNegative, Range, Share

MAX_PIXELS = 200_000_000
"""Larger images are refused from their header, before any of them is decoded."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """Where the images come from and how they are batched.

    Attributes:
        source: a folder (searched recursively), a text file of paths, `fashion-mnist:DIR` or
            `builtin:fashion`.
        batch_size: images per optimiser step, over all ranks and micro-batches.
        max_bad: share of unreadable files above which a run stops; a single one stops none, unless
            this is 0.
        max_pixels: larger images are refused from their header, before decoding.
        workers: decoding processes per rank; -1 chooses.
        store: where decoded images are kept for later epochs. "auto": in memory, where there are
            later epochs, decoding costs much and a fifth of the images or more fit.
        store_gb: 10^9 bytes that this may take on a machine; 0 takes half of what is free.
    """

    source: str
    batch_size: Count = 256
    max_bad: Share = 0.01
    max_pixels: Count = MAX_PIXELS
    workers: Annotated[int, Range("a number of processes, 0 for none or -1 to choose", -1)] = -1
    store: Literal["auto", "off", "memory", "file"] = "auto"
    store_gb: NotNegative = 0.0
