"""Dense weight matrices of separable resampling, quantised so that applying them is exact.

A row of weights is a whole number of 2^-16 (2^-15 for bicubic, 2^-14 for blur) and pixels are
whole levels (quarter levels for blur), so every partial sum of a product is a multiple of that
unit below 2^24 of it: float32 holds it exactly, in whatever order a matrix library adds. That is
what makes a view the same bits in any batch, on any processor and with any number of threads.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from manyviews.views.draw import Bools, Floats, Ints

Pixels = NDArray[np.float32]

_FINE = float(1 << 17)
_FAR = float(1 << 25)


def resize_weights(
    start: Ints,
    length: Ints,
    *,
    extent: int,
    size: int,
    flip: Bools | None,
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
        flip: [n], whether the output runs backwards.
        interpolation: the filter.
    """
    scale = length / size
    narrow = 1 / np.maximum(scale, 1)
    outputs = np.arange(size) + 0.5
    centers = start[:, None] + scale[:, None] * outputs
    if flip is not None:
        centers = np.where(flip[:, None], centers[:, ::-1], centers)
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


def blur_weights(sigma: Floats, *, size: int) -> Pixels:
    """[n, size, size] float32: a Gaussian, mirrored at the borders, for each row of pixels.

    Truncated at `blur_radius` and normalised; whole numbers of 2^-14 that sum to exactly 1.

    Args:
        sigma: [n] standard deviations in pixels.
        size: pixels in a row.
    """
    radius = np.minimum(blur_radius(sigma), size - 1)
    reach = int(radius.max())
    offsets = np.arange(-reach, reach + 1)
    taps = np.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
    taps[np.abs(offsets) > radius[:, None]] = 0
    taps = np.rint(taps / taps.sum(axis=-1, keepdims=True) * 2.0**14)
    taps[:, reach] += 2.0**14 - taps.sum(axis=-1)
    spread = np.zeros((len(offsets), size, size), dtype=np.float32)
    rows = np.arange(size)
    for number, offset in enumerate(offsets):
        mirrored = np.abs(rows + offset)
        mirrored = np.minimum(mirrored, 2 * (size - 1) - mirrored)
        spread[number, rows, mirrored] = 2.0**-14
    weights = taps.astype(np.float32) @ spread.reshape(len(offsets), -1)
    return weights.reshape(-1, size, size)


def blur_radius(sigma: Floats) -> Ints:
    """Where the Gaussian is cut: three standard deviations, rounded up to whole pixels."""
    return np.ceil(3 * sigma).astype(np.int64)


def _cubic(t: Pixels) -> Pixels:
    """Keys' cubic, a = -0.5, of distances t >= 0."""
    near = (np.float32(1.5) * t - np.float32(2.5)) * t * t + np.float32(1)
    far = (((t - np.float32(5)) * t + np.float32(8)) * t - np.float32(4)) * np.float32(-0.5)
    return np.where(t < 1, near, np.where(t < 2, far, np.float32(0)))
