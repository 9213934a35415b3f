"""What data a run reads, and how."""

from dataclasses import dataclass
from typing import Annotated

from manyviews.core.ranges import Count, Range, Share

MAX_PIXELS = 200_000_000
"""Larger images are refused from their header, before any of them is decoded."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """Where the images come from and how they are batched.

    Attributes:
        source: a folder (searched recursively), a text file of paths, `fashion-mnist:DIR` or
            `builtin:fashion`.
        batch_size: images per optimiser step, over all ranks and micro-batches.
        channels: every image is brought to this many (1 grey, 3 RGB; others must match).
        mean: per channel, of pixels in [0, 1]; one number serves all channels.
        std: likewise.
        max_bad: share of unreadable files above which a run stops.
        max_pixels: larger images are refused from their header, before decoding.
        workers: decoding processes per rank; -1 chooses.
    """

    source: str
    batch_size: Count = 256
    channels: Count = 3
    mean: Annotated[
        tuple[float, ...], Range("numbers from 0 to 1, of pixels from 0 to 1", 0, 1)
    ] = (0.485, 0.456, 0.406)
    std: Annotated[
        tuple[float, ...],
        Range("numbers above 0 and up to 1, of pixels from 0 to 1", 0, 1, above=True),
    ] = (0.229, 0.224, 0.225)
    max_bad: Share = 0.01
    max_pixels: Count = MAX_PIXELS
    workers: Annotated[int, Range("a number of processes, 0 for none or -1 to choose", -1)] = -1
