"""Gaussian blur of planes, exact, so that neither the processor nor its vectors matter.

Weights are whole numbers of 2^-14 that sum to 1 and pixels are rounded to quarter levels before
each direction: every partial sum is a whole number of 2^-16 below 2^24 of it, which float32 holds.
"""

import math

import numpy as np

from manyviews.views.image.colour import Levels
from manyviews.views.image.compiled import compiled, contracted

_UNIT = 1 << 14
_FOUR, _QUARTER, _HALF = np.float32(4), np.float32(0.25), np.float32(0.5)


@compiled
def radius(sigma: float) -> int:
    """Where the Gaussian is cut: three standard deviations, rounded up to whole pixels."""
    return math.ceil(3 * sigma)


@compiled
def gaussian(sigma: float, reach: int, out: Levels) -> None:
    """Fill in out[k], k = 0 ... reach: the weight of pixels k away, to either side; 0 behind."""
    total = 0.0
    for k in range(reach + 1):
        share = math.exp(-0.5 * (k / sigma) ** 2)
        total += share if k == 0 else 2 * share
    rest = _UNIT
    for k in range(1, reach + 1):
        whole = int(math.exp(-0.5 * (k / sigma) ** 2) / total * _UNIT + 0.5)
        out[k] = np.float32(whole / _UNIT)
        rest -= 2 * whole
    out[0] = np.float32(rest / _UNIT)
    out[reach + 1 :] = 0


@compiled
def blur(plane: Levels, size: int, weights: Levels, reach: int, wide: Levels, tall: Levels) -> None:
    """Blur plane [S * S] in place, mirrored at its borders; reach < S.

    Args:
        plane: float32 in [0, 255].
        size: S.
        weights: from `taps`, with zeros behind.
        reach: how far the Gaussian goes.
        wide: scratch, [S * (S + 2 reach)] or more.
        tall: likewise.
    """
    pitch = size + 2 * reach
    for y in range(size):
        at, to = np.uint64(y * size), np.uint64(y * pitch + reach)
        for i in range(np.uint64(size)):
            wide[to + i] = _quarter(plane[at + i])
        left, right = y * pitch + reach, y * pitch + reach + size - 1
        for k in range(1, reach + 1):
            wide[left - k] = wide[left + k]
            wide[right + k] = wide[right - k]
    _weigh(wide, pitch, 1, weights, reach, tall[reach * size :], size)
    for i in range(np.uint64(reach * size), np.uint64((reach + size) * size)):
        tall[i] = _quarter(tall[i])
    for k in range(1, reach + 1):
        above, below = (reach - k) * size, (reach + size - 1 + k) * size
        tall[above : above + size] = tall[(reach + k) * size : (reach + k + 1) * size]
        mirror = (reach + size - 1 - k) * size
        tall[below : below + size] = tall[mirror : mirror + size]
    _weigh(tall, size, size, weights, reach, plane, size)


@compiled
def _quarter(x: np.float32) -> np.float32:
    return np.float32(np.int32(x * _FOUR + _HALF)) * _QUARTER


@contracted
def _weigh(
    source: Levels, pitch: int, step: int, weights: Levels, reach: int, out: Levels, size: int
) -> None:
    """Out [S * S]: each pixel the weighted sum of those up to reach steps before and after it."""
    n, middle, far = np.uint64(size), reach * step, 2 * reach * step
    w0, w1, w2, w3 = weights[0], weights[1], weights[2], weights[3]
    w4, w5, w6 = weights[4], weights[5], weights[6]
    for y in range(size):
        to, at = np.uint64(y * size), y * pitch + middle
        low, high = y * pitch, y * pitch + far
        a = np.uint64(at)
        b, c = np.uint64(at - step), np.uint64(at + step)
        d, e = np.uint64(max(at - 2 * step, low)), np.uint64(min(at + 2 * step, high))
        if reach <= 2:
            for i in range(n):
                two = (source[b + i] + source[c + i]) * w1 + (source[d + i] + source[e + i]) * w2
                out[to + i] = source[a + i] * w0 + two
            continue
        f, g = np.uint64(at - 3 * step), np.uint64(at + 3 * step)
        h, j = np.uint64(max(at - 4 * step, low)), np.uint64(min(at + 4 * step, high))
        if reach <= 4:
            for i in range(n):
                two = (source[b + i] + source[c + i]) * w1 + (source[d + i] + source[e + i]) * w2
                four = (source[f + i] + source[g + i]) * w3 + (source[h + i] + source[j + i]) * w4
                out[to + i] = source[a + i] * w0 + two + four
            continue
        m, o = np.uint64(at - 5 * step), np.uint64(at + 5 * step)
        p, q = np.uint64(max(at - 6 * step, low)), np.uint64(min(at + 6 * step, high))
        for i in range(n):
            two = (source[b + i] + source[c + i]) * w1 + (source[d + i] + source[e + i]) * w2
            four = (source[f + i] + source[g + i]) * w3 + (source[h + i] + source[j + i]) * w4
            six = (source[m + i] + source[o + i]) * w5 + (source[p + i] + source[q + i]) * w6
            out[to + i] = source[a + i] * w0 + two + four + six
        for k in range(7, reach + 1, 2):
            b, c = np.uint64(at - k * step), np.uint64(at + k * step)
            d = np.uint64(max(at - (k + 1) * step, low))
            e = np.uint64(min(at + (k + 1) * step, high))
            w, v = weights[k], weights[k + 1]
            for i in range(n):
                two = (source[b + i] + source[c + i]) * w + (source[d + i] + source[e + i]) * v
                out[to + i] += two
