"""Mean and standard deviation of pixels, added up image by image."""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from manyviews.core.sample import Bytes

_LOSS = 4


@dataclass(frozen=True)
class Sums:
    """Per channel: how many pixels, their sum, and the sum of their squares.

    Attributes:
        count: pixels.
        total: [C] float64, of pixels in [0, 255].
        squares: [C] float64.
        low, high: the least and the greatest value of any channel.
    """

    count: int
    total: NDArray[np.float64]
    squares: NDArray[np.float64]
    low: int
    high: int

    @classmethod
    def of(cls, image: Bytes) -> "Sums":
        """The sums of one image [H, W, C] uint8, from its histogram."""
        # Four channels at a time: OpenCV takes no image of a thousand.
        parts = [image[..., first : first + 4] for first in range(0, image.shape[2], 4)]
        counts = np.concatenate([_histograms(part) for part in parts])
        values = np.arange(256, dtype=np.float64)
        present = np.flatnonzero(counts.any(axis=0))
        return cls(
            image.shape[0] * image.shape[1],
            counts @ values,
            counts @ values**2,
            int(present[0]),
            int(present[-1]),
        )

    @property
    def mean(self) -> tuple[float, ...]:
        """Per channel, of pixels in [0, 1]."""
        return tuple((self.total / self.count / 255).tolist())

    @property
    def std(self) -> tuple[float, ...]:
        """Per channel, of pixels in [0, 1]."""
        mean = self.total / self.count
        return tuple((np.sqrt(np.maximum(self.squares / self.count - mean**2, 0)) / 255).tolist())


def add(parts: Iterable[Sums]) -> Sums:
    """The sums of at least one part, each image counting by its pixels."""
    parts = list(parts)
    return Sums(
        sum(part.count for part in parts),
        np.sum([part.total for part in parts], axis=0),
        np.sum([part.squares for part in parts], axis=0),
        min(part.low for part in parts),
        max(part.high for part in parts),
    )


def _histograms(image: Bytes) -> NDArray[np.float64]:
    """[C, 256]: how many pixels of each channel have each level."""
    image = np.ascontiguousarray(image)
    channels = range(image.shape[2])
    counts = [cv2.calcHist([image], [c], None, [256], [0, 256]).ravel() for c in channels]
    return np.stack(counts).astype(np.float64)


def is_grey(image: Bytes) -> bool:
    """Whether all channels of [H, W, C] are equal up to what lossy compression changes."""
    if image.shape[2] == 1:
        return True
    # most images with colour show it in one pixel of 64, which saves looking at the others
    return _spread(image[::8, ::8]) <= _LOSS and _spread(image) <= _LOSS


def _spread(image: Bytes) -> int:
    return int((image.max(axis=2) - image.min(axis=2)).max())
