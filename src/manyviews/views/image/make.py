"""All views of a family, one after the other, each in a few passes over memory that stays near.

A view depends on its image and its parameters alone, never on the batch that it is made in.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from manyviews.core.sample import Bytes
from manyviews.views.draw import BRIGHTNESS, CONTRAST, HUE, ORDERS, SATURATION, Draws
from manyviews.views.image import blur, colour
from manyviews.views.image.colour import Levels
from manyviews.views.image.columns import SHORT, column_size, columns, padded, transpose
from manyviews.views.image.compiled import compiled
from manyviews.views.image.resample import Coefficients, blend, most_taps, taps
from manyviews.views.plan import Crops

_FLIP, _GREY, _BLUR, _SOLARIZE = range(4)
_FILTERS = {"bilinear": (False, False), "bicubic": (True, False), "sharp-bicubic": (True, True)}
"""Interpolation -> whether it is cubic, and whether it goes without antialiasing."""

_KNOWN = 96
"""Weights of resizing from every length up to this are looked up, for images that are no larger."""

_SPARE = 8
"""Weights of zero behind those of a blur, which reads them in groups."""


class Parameters(NamedTuple):
    """Of n views: boxes [n, 4] (top, left, height, width), what runs, and with which factors."""

    boxes: NDArray[np.int64]
    flags: NDArray[np.bool_]
    orders: NDArray[np.int8]
    factors: Levels
    sigmas: NDArray[np.float64]


class Scratch(NamedTuple):
    """Memory that views need one after the other; shapes where they are made."""

    tall: Bytes
    wide: Bytes
    rows: Bytes
    x: Levels
    before: Levels
    after: Levels
    first: NDArray[np.int64]
    weights: Coefficients
    known: NDArray[np.int64]
    known_first: NDArray[np.int64]
    known_weights: Coefficients
    sums: Coefficients
    gauss: Levels


class Cutter:
    """Makes the views of one family.

    Attributes:
        crops: the plan of the family.
        channels: of every image.
    """

    def __init__(self, crops: Crops, *, channels: int) -> None:
        """Keep the plan."""
        self.crops = crops
        self.channels = channels
        strengths = {
            BRIGHTNESS: crops.brightness,
            CONTRAST: crops.contrast,
            SATURATION: crops.saturation if channels == 3 else 0,
            HUE: crops.hue if channels == 3 else 0,
        }
        self._filter = _FILTERS[crops.interpolation]
        self._style = colour.STYLES.index(crops.colour)
        idle = [part for part, strength in strengths.items() if not strength]
        self._orders = np.where(np.isin(ORDERS, idle), -1, ORDERS).astype(np.int8)

    def __call__(self, planes: Bytes, draws: Draws, out: Bytes, scratch: Scratch) -> None:
        """Fill out [B, V, S, S, C] uint8 with views of planes [B, W, C, H'], as `draws` says."""
        every = draws.flat()
        parameters = Parameters(
            np.stack((every.top, every.left, every.height, every.width), axis=1),
            np.stack((every.flip, every.grey, every.blur, every.solarize), axis=1),
            np.where(every.jitter[:, None], self._orders[every.order], np.int8(-1)),
            np.stack(
                (every.brightness, every.contrast, every.saturation, every.hue), axis=1
            ).astype(np.float32),
            every.sigma,
        )
        cubic, sharp = self._filter
        _make(planes, parameters, scratch, out, cubic, sharp, self._style)

    def scratch(self, height: int, width: int) -> Scratch:
        """Memory for views of images of up to so many pixels; fresh memory costs a page fault."""
        size, channels = self.crops.size, self.channels
        wide, tall = padded(size), column_size(height)
        reach = min(int(np.ceil(3 * self.crops.sigma[1])), size - 1)
        cubic, sharp = self._filter
        most = most_taps(max(height, width), size, cubic=cubic)
        known = max(height, width) if max(height, width) <= _KNOWN else 0
        table = np.empty(known + 1, dtype=np.int64)
        table_first = np.empty((known + 1, size), dtype=np.int64)
        table_weights = np.empty((known + 1, size, most), dtype=np.int32)
        for length in range(1, known + 1):
            first, weights = table_first[length], table_weights[length]
            table[length] = taps(length, size, cubic, first, weights, sharp)
        return Scratch(
            tall=np.empty((wide, channels, tall), dtype=np.uint8),
            wide=np.empty((tall, channels, wide), dtype=np.uint8),
            rows=np.empty((size, channels, wide), dtype=np.uint8),
            x=np.empty((channels, size * size), dtype=np.float32),
            before=np.empty(size * (size + 2 * reach) + 1, dtype=np.float32),
            after=np.empty(size * (size + 2 * reach) + 1, dtype=np.float32),
            first=np.empty(size, dtype=np.int64),
            weights=np.empty((size, most), dtype=np.int32),
            known=table,
            known_first=table_first,
            known_weights=table_weights,
            sums=np.empty((channels, max(wide, tall)), dtype=np.int32),
            gauss=np.zeros(reach + _SPARE, dtype=np.float32),
        )


@compiled
def _make(  # compiled functions take no keywords
    planes: Bytes,
    every: Parameters,
    scratch: Scratch,
    out: Bytes,
    cubic: bool,  # noqa: FBT001 - compiled: by position
    sharp: bool,  # noqa: FBT001 - compiled: by position
    style: int,
) -> None:
    # Arrays are handed on one by one: a tuple of them costs a count of references each time.
    tall, wide, rows, x = scratch.tall, scratch.wide, scratch.rows, scratch.x
    before, after, gauss, sums = scratch.before, scratch.after, scratch.gauss, scratch.sums
    known, firsts, tables = scratch.known, scratch.known_first, scratch.known_weights
    first, weights = scratch.first, scratch.weights
    words, turned = tall.view(np.uint64), wide.view(np.uint64)
    batch, count, size, _, channels = out.shape
    for b in range(batch):
        for v in range(count):
            n = b * count + v
            top, left, height, width = every.boxes[n]
            # In whole vectors: what is beyond the crop is not used.
            low, most = (0, planes.shape[3]) if planes.shape[3] <= SHORT else (top, _up(height, 32))
            source = planes[b, left : left + width, :, low : low + most]
            if width < len(known):
                used, first, weights = int(known[width]), firsts[width], tables[width]
            else:
                used = taps(width, size, cubic, first, weights, sharp)
            blend(source, first, weights, used, tall, sums, every.flags[n, _FLIP])
            for c in range(channels):
                transpose(words[: _up(size, 8), c, : _up(top - low + height, 8) // 8], turned[:, c])
            crop = wide[top - low : top - low + height]
            if height < len(known):
                used, first, weights = int(known[height]), firsts[height], tables[height]
            else:
                used = taps(height, size, cubic, first, weights, sharp)
            blend(crop, first, weights, used, rows, sums, False)  # noqa: FBT003 (as there)
            grey = channels == 3 and every.flags[n, _GREY]
            blurred = every.flags[n, _BLUR]
            if every.orders[n].max() >= 0 or grey or blurred:
                _load(rows, x, size)
                colour.jitter(x, every.orders[n], every.factors[n], style)
                if grey:
                    colour.to_grey(x)
                if blurred:
                    sigma = float(every.sigmas[n])
                    reach = min(blur.radius(sigma), size - 1)
                    blur.gaussian(sigma, reach, gauss)
                    for c in range(1 if grey else channels):
                        blur.blur(x[c], size, gauss, reach, before, after)
                _store(x, rows, size, grey)
            _interleave(rows, every.flags[n, _SOLARIZE], out[b, v])


@compiled
def _up(length: int, step: int) -> int:
    return -(-length // step) * step


@compiled
def _load(rows: Bytes, x: Levels, size: int) -> None:
    """Rows [S, C, S'] to planes x [C, S * S]."""
    n = np.uint64(size)
    for c in range(rows.shape[1]):
        for y in range(size):
            at = np.uint64(y * size)
            for i in range(n):
                x[c, at + i] = np.float32(rows[y, c, i])


@compiled
def _store(x: Levels, rows: Bytes, size: int, grey: bool) -> None:  # noqa: FBT001 - compiled: by position
    """The nearest levels of planes x [C, S * S], or of the first, in rows [S, C, S']."""
    n = np.uint64(size)
    for c in range(rows.shape[1]):
        source = 0 if grey else c
        for y in range(size):
            at = np.uint64(y * size)
            for i in range(n):
                rows[y, c, i] = np.uint8(np.int32(x[source, at + i] + np.float32(0.5)))


@compiled
def _interleave(rows: Bytes, solarize: bool, out: Bytes) -> None:  # noqa: FBT001 - compiled: by position
    """Out [S, S, C]; solarising inverts levels of 128 and above."""
    size, channels = out.shape[1:]
    if solarize:
        for y in range(size):
            for c in range(channels):
                for i in range(size):
                    rows[y, c, i] = min(rows[y, c, i], np.uint8(255) - rows[y, c, i])
    for y in range(size):
        if channels == 3:  # a constant stride becomes vector instructions
            for i in range(size):
                out[y, i, 0] = rows[y, 0, i]
                out[y, i, 1] = rows[y, 1, i]
                out[y, i, 2] = rows[y, 2, i]
        else:
            for c in range(channels):
                for i in range(size):
                    out[y, i, c] = rows[y, c, i]


def make(images: Bytes, draws: Draws, crops: Crops) -> Bytes:
    """[B, V, S, S, C] uint8 views of images [B, H, W, C] uint8, as `draws` says."""
    channels, size = images.shape[-1], crops.size
    out = np.empty((*draws.top.shape, size, size, channels), dtype=np.uint8)
    cutter = Cutter(crops, channels=channels)
    cutter(columns(images), draws, out, cutter.scratch(*images.shape[1:3]))
    return out
