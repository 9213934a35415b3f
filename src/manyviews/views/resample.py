"""Dense weight matrices of separable resampling, quantised so that applying them is exact.

A row of weights is a whole number of 2^-16 (2^-15 for bicubic, 2^-14 for blur) and pixels are
whole levels (quarter levels for blur), so every partial sum of a product is a multiple of that
unit below 2^24 of it: float32 holds it exactly, in whatever order a matrix library adds. That is
what makes a view the same bits in any batch, on any processor and with any number of threads.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from manyviews.views.draw import Floats, Ints

Pixels = NDArray[np.float32]

_FINE = float(1 << 17)
_FAR = float(1 << 25)


def resize_weights(
    start: Ints,
    length: Ints,
    *,
    extent: int,
    size: int,
    interpolation: Literal["bilinear", "bicubic"],
) -> Pixels:
    """[n, size, extent] float32: row o holds the share of each input pixel in output pixel o.

    The filter of Pillow's `Image.resize` on the cropped image: a triangle, or Keys' cubic with
    a = -0.5, widened by the scale when shrinking, cut at the border of the crop and normalised.

    Args:
        start: [n] first pixel of the crop.
        length: [n] pixels in the crop.
        extent: pixels in the input, cropped or not.
        size: pixels in the output.
        interpolation: the filter.
    """
    scale = length / size
    narrow = 1 / np.maximum(scale, 1)
    outputs = np.arange(size) + 0.5
    centers = start[:, None] + scale[:, None] * outputs
    inputs = np.arange(extent)
    outside = (inputs < start[:, None]) | (inputs >= (start + length)[:, None])
    # Positions as whole numbers of 2^-17, so that distances and their sums are exact too.
    at = np.rint((inputs + 0.5) * (narrow[:, None] * _FINE))
    at[outside] = _FAR
    centers = np.rint(centers * (narrow[:, None] * _FINE))
    weights = at.astype(np.float32)[:, None, :] - centers.astype(np.float32)[:, :, None]
    np.abs(weights, out=weights)
    if interpolation == "bilinear":
        np.subtract(_FINE, weights, out=weights)
        np.clip(weights, 0, None, out=weights)
        unit = 2.0**16
    else:
        weights = np.rint(_cubic(weights / np.float32(_FINE)) * np.float32(_FINE))
        unit = 2.0**15
    total = weights.sum(axis=-1, keepdims=True)
    weights *= np.float32(unit) / total
    np.rint(weights, out=weights)
    weights *= np.float32(1 / unit)
    return weights


class ResizeTable:
    """`resize_weights` for one size and filter, remembering the answers for small images.

    An axis of 32 pixels has only 528 different crops: looking their weights up is ten times
    faster than computing them. The answers are the same bits either way.
    """

    _TABLES = 4
    _BYTES = 1 << 24

    def __init__(self, size: int, interpolation: Literal["bilinear", "bicubic"]) -> None:
        self._size = size
        self._interpolation: Literal["bilinear", "bicubic"] = interpolation
        self._tables: dict[int, Pixels] = {}

    def __call__(self, start: Ints, length: Ints, *, extent: int) -> Pixels:
        """[n, size, extent] float32; arguments as in `resize_weights`."""
        table = self._tables.get(extent)
        if table is None:
            large = 2 * extent * (extent + 1) * self._size * extent > self._BYTES
            if large or len(self._tables) == self._TABLES:
                return self._compute(start, length, extent)
            starts, ends = np.triu_indices(extent)
            table = self._compute(starts, ends - starts + 1, extent)
            self._tables[extent] = table
        # Position of (start, end) among the pairs that `triu_indices` counts row by row.
        return table[start * extent - start * (start - 1) // 2 + length - 1]

    def _compute(self, start: Ints, length: Ints, extent: int) -> Pixels:
        return resize_weights(
            start, length, extent=extent, size=self._size, interpolation=self._interpolation
        )


class BlurTable:
    """Gaussian blurs of rows of `size` pixels, mirrored at the borders, as matrices."""

    def __init__(self, size: int, largest: float) -> None:
        """Prepare for standard deviations up to `largest` pixels."""
        self._reach = min(int(blur_radius(np.array([largest]))[0]), size - 1)
        self._size = size
        offsets = np.arange(-self._reach, self._reach + 1)
        rows = np.arange(size)
        mirrored = np.abs(rows + offsets[:, None])
        mirrored = np.minimum(mirrored, 2 * (size - 1) - mirrored)
        spread = np.zeros((len(offsets), size, size), dtype=np.float32)
        np.put_along_axis(spread, mirrored[..., None], 2.0**-14, axis=-1)
        self._spread = spread.reshape(len(offsets), -1)

    def __call__(self, sigma: Floats) -> Pixels:
        """[n, size, size] float32: row o holds the share of each input pixel in output pixel o.

        Truncated at `blur_radius` and normalised; whole numbers of 2^-14 that sum to exactly 1.

        Args:
            sigma: [n] standard deviations in pixels.
        """
        offsets = np.arange(-self._reach, self._reach + 1)
        taps = np.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
        taps[np.abs(offsets) > blur_radius(sigma)[:, None]] = 0
        taps = np.rint(taps / taps.sum(axis=-1, keepdims=True) * 2.0**14)
        taps[:, self._reach] += 2.0**14 - taps.sum(axis=-1)
        weights = taps.astype(np.float32) @ self._spread
        return weights.reshape(-1, self._size, self._size)


def blur_radius(sigma: Floats) -> Ints:
    """Where the Gaussian is cut: three standard deviations, rounded up to whole pixels."""
    return np.ceil(3 * sigma).astype(np.int64)


def _cubic(t: Pixels) -> Pixels:
    """Keys' cubic, a = -0.5, of distances t >= 0."""
    near = (np.float32(1.5) * t - np.float32(2.5)) * t * t + np.float32(1)
    far = (((t - np.float32(5)) * t + np.float32(8)) * t - np.float32(4)) * np.float32(-0.5)
    return np.where(t < 1, near, np.where(t < 2, far, np.float32(0)))
