"""Crop, resize and flip as Pillow does it, bit for bit.

Pillow's `Image.resize` on the cropped image (Resample.c): a triangle, or Keys' cubic with a = -0.5,
widened by the scale when shrinking, cut at the border of the crop and normalised; weights are
whole numbers of 2^-22, and pixels are rounded to levels after each direction. Across comes first;
Pillow 13 begins with the cheaper direction, which makes a level of difference at most.
"""

import numpy as np
from numpy.typing import NDArray

from manyviews.core.sample import Bytes
from manyviews.views.image.compiled import compiled

Coefficients = NDArray[np.int32]

_BITS = 22
_HALF = np.int32(1 << (_BITS - 1))


def most_taps(longest: int, size: int, *, cubic: bool) -> int:
    """An even number >= 6 of pixels, no fewer than one output pixel reads of `longest` or fewer."""
    reach = (2 if cubic else 1) * max(1.0, longest / size)
    return max(6, 2 * int(np.ceil(reach)) + 2)


@compiled
def taps(  # compiled functions take no keywords
    length: int,
    size: int,
    cubic: bool,  # noqa: FBT001 - compiled: by position
    first: NDArray[np.int64],
    weights: Coefficients,
    sharp: bool = False,  # noqa: FBT001, FBT002 - compiled: by position
) -> int:
    """Fill in what output pixel o reads: weights[o, k] of input pixel first[o] + k.

    Where `sharp` the filter is not widened by the scale when shrinking: TensorFlow's `resize`.

    Returns:
        How many pixels the busiest output pixel reads; weights beyond are 0.
    """
    scale = length / size
    wide = 1.0 if sharp else max(scale, 1.0)
    support = wide * (2.0 if cubic else 1.0)
    inverse = 1.0 / wide
    shares = np.empty(weights.shape[1])
    most = 0
    for o in range(size):
        center = (o + 0.5) * scale
        low = max(int(center - support + 0.5), 0)
        count = min(int(center + support + 0.5), length) - low
        total = 0.0
        for k in range(count):
            away = abs((k + low - center + 0.5) * inverse)
            shares[k] = _cubic(away) if cubic else max(1.0 - away, 0.0)
            total += shares[k]
        first[o] = low
        for k in range(weights.shape[1]):
            share = shares[k] / total * (1 << _BITS) if k < count else 0.0
            weights[o, k] = int(share - 0.5) if share < 0 else int(share + 0.5)
        most = max(most, count)
    return most


@compiled
def _cubic(t: float) -> float:
    if t < 1.0:
        return (1.5 * t - 2.5) * t * t + 1.0
    if t < 2.0:
        return (((t - 5.0) * t + 8.0) * t - 4.0) * -0.5
    return 0.0


@compiled
def blend(  # noqa: C901
    source: Bytes,
    first: NDArray[np.int64],
    weights: Coefficients,
    most: int,
    out: Bytes,
    sums: Coefficients,
    flip: bool,  # noqa: FBT001 - compiled: by position
) -> None:
    """out[o] = the weighted sum of source[first[o]] ..., [n, s, m] both, rounded; flip turns o."""
    last, size = source.shape[0] - 1, first.shape[0]
    parts, count = source.shape[1:]
    for o in range(size):
        to = size - 1 - o if flip else o
        a = first[o]
        b = min(a + 1, last)
        w0, w1 = weights[o, 0], weights[o, 1]
        if most <= 2:
            for part in range(parts):
                for y in range(count):
                    pair = w0 * source[a, part, y] + w1 * source[b, part, y]
                    out[to, part, y] = _level(np.int32(pair + _HALF))
            continue
        c, d = min(a + 2, last), min(a + 3, last)
        w2, w3 = weights[o, 2], weights[o, 3]
        if most <= 4:
            for part in range(parts):
                for y in range(count):
                    pair = w0 * source[a, part, y] + w1 * source[b, part, y]
                    pair += w2 * source[c, part, y] + w3 * source[d, part, y]
                    out[to, part, y] = _level(np.int32(pair + _HALF))
            continue
        e, f = min(a + 4, last), min(a + 5, last)
        w4, w5 = weights[o, 4], weights[o, 5]
        for part in range(parts):
            for y in range(count):
                pair = w0 * source[a, part, y] + w1 * source[b, part, y]
                pair += w2 * source[c, part, y] + w3 * source[d, part, y]
                pair += w4 * source[e, part, y] + w5 * source[f, part, y]
                sums[part, y] = np.int32(pair + _HALF)
        for k in range(6, most, 2):
            a, b = min(first[o] + k, last), min(first[o] + k + 1, last)
            w0, w1 = weights[o, k], weights[o, k + 1]
            for part in range(parts):
                for y in range(count):
                    pair = w0 * source[a, part, y] + w1 * source[b, part, y]
                    sums[part, y] += np.int32(pair)
        for part in range(parts):
            for y in range(count):
                out[to, part, y] = _level(sums[part, y])


@compiled
def _level(total: np.int32) -> np.uint8:
    return np.uint8(min(max(total >> _BITS, 0), 255))
