"""What data a run reads, and how."""

from dataclasses import dataclass

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
    batch_size: int = 256
    channels: int = 3
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    max_bad: float = 0.01
    max_pixels: int = MAX_PIXELS
    workers: int = -1
