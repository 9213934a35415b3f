"""What data a run reads, and how."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from manyviews.core.ranges import Count, NotNegative, Range, Share

MAX_PIXELS = 200_000_000
"""Larger images are refused from their header, before any of them is decoded."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """Where the images come from and how they are batched.

    Attributes:
        source: a folder (searched recursively), a text file of paths, a CSV with a column path,
            `fashion-mnist:DIR` or `builtin:fashion`.
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


@dataclass(frozen=True, kw_only=True)
class Positives:
    """Which other samples are positives of a sample: of whom it has some views (docs/settings.md).

    Each is a column of the CSV that is the data, FILE.csv:COLUMN of another, folder or folder:N
    (the innermost folder, the first N), or name:PATTERN (a regular expression in the file's name).

    Attributes:
        group: samples of one value are positives of one another: one patient, place or product.
        differ: and of two values here: one scanner or plate cannot be what pairs share.
    """

    group: str = ""
    differ: str = ""

    def wrong(self) -> Iterator[tuple[str, object, str]]:
        """A nuisance without groups: two views of one sample share it always."""
        if self.differ and not self.group:
            yield "differ", repr(self.differ), "a --positives.group beside it"
