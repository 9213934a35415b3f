"""What several corruptions do to an image: smooth, enlarge, smear, look up between pixels.

Images are float64 [H, W, C], levels in [0, 1].
"""

from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from manyviews.core.sample import Floats

Edge = Literal["nearest", "reflect", "mirror"]
"""What lies outside: the last pixel for ever; d c b a | a b c d; or d c b | a b c d."""


def fold(index: NDArray[np.int64], size: int, edge: Edge) -> NDArray[np.int64]:
    """Positions outside [0, size) as the positions inside that stand for them."""
    if edge == "nearest" or size == 1:
        return index.clip(0, size - 1)
    period = 2 * size if edge == "reflect" else 2 * size - 2
    index = index % period
    return np.where(index < size, index, period - index - (edge == "reflect"))


def smooth(x: Floats, sigma: float, *, truncate: float, edge: Edge) -> Floats:
    """A Gaussian blur of [H, W] or [H, W, C]; `sigma` in pixels, cut off at `truncate` of them."""
    down, across = (_smoother(size, sigma, truncate, edge) for size in x.shape[:2])
    x = (down @ x.reshape(len(x), -1)).reshape(x.shape)
    return np.moveaxis(np.tensordot(across, x, axes=(1, 1)), 0, 1)


def enlarge(x: Floats, factor: float) -> Floats:
    """The middle of [H, W, C] enlarged by `factor`, bilinear, to the same size."""
    for axis in (0, 1):
        size = x.shape[axis]
        kept = int(np.ceil(size / factor))
        made = round(kept * factor)
        first = (size - kept) // 2
        trim = (made - size) // 2
        at = (np.arange(size) + trim) * ((kept - 1) / max(1, made - 1))
        low = np.floor(at).astype(np.int64)
        share = (at - low).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
        part = x.take(range(first, first + kept), axis=axis)
        high = (low + 1).clip(max=kept - 1)
        x = (1 - share) * part.take(low, axis=axis) + share * part.take(high, axis=axis)
    return x


def smear(x: Floats, *, radius: int, sigma: float, angle: float) -> Floats:
    """Motion blur of [H, W, C]: along one direction, weights falling like half a Gaussian.

    There are 2 * radius + 1 places on the way, each rounded to a pixel. Rule: ImageMagick's
    `-motion-blur`, which the authors use; edges repeat.

    Args:
        x: the image.
        radius: in pixels.
        sigma: of the Gaussian, in pixels.
        angle: of the way, in degrees; 0 is to the right, 90 down.
    """
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    turn = np.deg2rad(angle)
    right = np.ceil(steps * np.cos(turn) - 0.5).astype(np.int64)
    down = np.ceil(steps * np.sin(turn) - 0.5).astype(np.int64)
    far = 2 * radius
    wide = np.pad(x, ((far, far), (far, far), (0, 0)), mode="edge")
    out = np.zeros_like(x)
    for weight, y, z in zip(weights / weights.sum(), down + far, right + far, strict=True):
        out += weight * wide[y : y + len(x), z : z + x.shape[1]]
    return out


def look_up(x: Floats, rows: Floats, columns: Floats, edge: Edge) -> Floats:
    """[H, W, C]: the image at places between pixels, bilinear.

    Args:
        x: [H, W, C].
        rows: [H, W], in pixels; may lie outside.
        columns: likewise.
        edge: what lies outside.
    """
    top, left = np.floor(rows).astype(np.int64), np.floor(columns).astype(np.int64)
    down, right = (rows - top)[..., None], (columns - left)[..., None]
    height, width = x.shape[:2]
    y0, y1 = fold(top, height, edge), fold(top + 1, height, edge)
    x0, x1 = fold(left, width, edge), fold(left + 1, width, edge)
    above = (1 - right) * x[y0, x0] + right * x[y0, x1]
    below = (1 - right) * x[y1, x0] + right * x[y1, x1]
    return (1 - down) * above + down * below


def grey(x: Floats) -> Floats:
    """[H, W, 1]: luma of red, green and blue (ITU-R BT.601), or the one channel itself."""
    if x.shape[2] == 1:
        return x
    return (x @ np.array([0.299, 0.587, 0.114]))[..., None]


def disk(radius: float, sigma: float) -> Floats:
    """[K, K]: an even disk, its rim softened by a Gaussian of 3x3 or, for radii above 8, 5x5."""
    reach = max(8, int(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    even = (x**2 + y**2 <= radius**2).astype(np.float64)
    size = 3 if radius <= 8 else 5
    return np.asarray(cv2.GaussianBlur(even / even.sum(), (size, size), sigmaX=sigma), np.float64)


def filtered(x: Floats, kernel: Floats) -> Floats:
    """[H, W, C] correlated with [K, K]; edges mirrored without repeating the last pixel."""
    return np.asarray(cv2.filter2D(x, -1, kernel), np.float64).reshape(x.shape)


@lru_cache(maxsize=64)
def _smoother(size: int, sigma: float, truncate: float, edge: Edge) -> Floats:
    """[size, size]: row i has the weights of the pixels that make pixel i."""
    reach = int(truncate * sigma + 0.5)
    steps = np.arange(-reach, reach + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2)) if reach else np.ones(1)
    weights /= weights.sum()
    out = np.zeros((size, size))
    rows = np.arange(size)
    for step, weight in zip(steps.tolist(), weights.tolist(), strict=True):
        np.add.at(out, (rows, fold(rows + step, size, edge)), weight)
    return out
