"""Images with each column of each channel contiguous: what resampling and machine words want."""

import math
from dataclasses import dataclass

import numpy as np

from manyviews.core.sample import Bytes
from manyviews.views.draw import Words
from manyviews.views.image.compiled import compiled

PAD = 32
"""Rows are padded to multiples of this, so that loops over them need no remainder."""

SMALL = 96
"""Images up to this many pixels on their longer side are stacked and made in one call."""

SHORT = 64
"""Columns of up to so many pixels have no padding but to whole vectors."""

_32, _16, _8 = np.uint64(32), np.uint64(16), np.uint64(8)
_LOW_32, _HIGH_32 = np.uint64(0x00000000FFFFFFFF), np.uint64(0xFFFFFFFF00000000)
_LOW_16, _HIGH_16 = np.uint64(0x0000FFFF0000FFFF), np.uint64(0xFFFF0000FFFF0000)
_LOW_8, _HIGH_8 = np.uint64(0x00FF00FF00FF00FF), np.uint64(0xFF00FF00FF00FF00)


def padded(length: int) -> int:
    """The next multiple of `PAD`."""
    return -(-length // PAD) * PAD


def columns(images: Bytes, room: Bytes | None = None) -> Bytes:
    """[B, W', C, H'] uint8 of images [B, H, W, C] uint8; what is beyond W and H is arbitrary.

    W' is a multiple of 8 and H' of `PAD`. Above `SHORT`, H' is H + `PAD` or more, so that from any
    pixel one may read on in whole vectors; shorter columns are read as a whole.

    Args:
        images: of one size.
        room: memory to use, [n] with n >= `columns_size` of the images, instead of fresh memory.
    """
    shape = _shape(images.shape)
    out = _laid(images, shape)
    if out is None:
        size = math.prod(shape)
        room = np.empty(size, dtype=np.uint8) if room is None else room
        source = np.ascontiguousarray(images).view()
        source.flags.writeable = False  # some images are; one kind of array is compiled for
        _fill(source, room[:size].reshape(shape))
        out = room[:size].reshape(shape)
    out.flags.writeable = False  # likewise: those that were laid already may be
    return out


def _laid(images: Bytes, shape: tuple[int, int, int, int]) -> Bytes | None:
    """The memory of one image that lies in columns already; None of any other."""
    base, (_, _, channels, tall) = images.base, shape
    if len(images) != 1 or images.strides[1:] != (1, channels * tall, tall):
        return None
    if not isinstance(base, np.ndarray) or base.ndim != 1 or base.itemsize != 1:
        return None
    start = images.ctypes.data - base.ctypes.data
    size = math.prod(shape)
    if not (base.flags.c_contiguous and 0 <= start <= base.size - size):
        return None
    return base[start : start + size].reshape(shape)


@dataclass(frozen=True)
class Columns:
    """How decoded images lie where they are kept: large ones as views are made of them.

    That spares laying them out again in every epoch. Small ones are laid out many at a time.
    """

    def size(self, shape: tuple[int, int, int]) -> int:
        """Bytes of an image [H, W, C]; of a large one with padding."""
        return columns_size((1, *shape)) if _large(shape) else math.prod(shape)

    def lay(self, pixels: Bytes) -> Bytes:
        """[size] uint8 of [H, W, C] uint8."""
        large = _large(pixels.shape)
        return (columns(pixels[None]) if large else np.ascontiguousarray(pixels)).reshape(-1)

    def look(self, memory: Bytes, shape: tuple[int, int, int]) -> Bytes:
        """[H, W, C] uint8 in such memory, which is not copied."""
        if not _large(shape):
            return memory.reshape(shape)
        height, width, _ = shape
        planes = memory.reshape(_shape((1, *shape)))[0]
        return planes[:width, :, :height].transpose(2, 0, 1)


def _large(shape: tuple[int, ...]) -> bool:
    return max(shape[:2]) > SMALL


def column_size(height: int) -> int:
    """H' of `columns`."""
    return padded(height) + (PAD if height > SHORT else 0)


def columns_size(shape: tuple[int, ...]) -> int:
    """How many bytes `columns` needs for images [B, H, W, C]."""
    return math.prod(_shape(shape))


def _shape(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    batch, height, width, channels = shape
    return batch, (width + 7) // 8 * 8, channels, column_size(height)


@compiled
def _fill(images: Bytes, out: Bytes) -> None:
    batch, height, _, channels = images.shape
    # As many rows at a time as fill a cache line of each column.
    strip = np.zeros((channels, min(64, (height + 7) // 8 * 8), out.shape[1]), dtype=np.uint8)
    source, target = strip.view(np.uint64), out.view(np.uint64)
    for b in range(batch):
        for top in range(0, height, 64):
            tall = min(64, height - top)
            for y in range(tall):
                _part(images, b, top + y, strip, y)
            low, high = top // 8, (top + tall + 7) // 8
            for c in range(channels):
                transpose(source[c, : 8 * (high - low)], target[b, :, c, low:high])


@compiled
def _part(images: Bytes, b: int, row: int, strip: Bytes, y: int) -> None:
    """strip[c, y, x] = images[b, row, x, c]."""
    width, channels = images.shape[2:]
    if channels == 3:  # a constant stride becomes vector instructions
        for x in range(width):
            strip[0, y, x] = images[b, row, x, 0]
            strip[1, y, x] = images[b, row, x, 1]
            strip[2, y, x] = images[b, row, x, 2]
        return
    for c in range(channels):
        for x in range(width):
            strip[c, y, x] = images[b, row, x, c]


@compiled
def transpose(source: Words, out: Words) -> None:
    """Transpose bytes: source [8 n, m] and out [8 m, n], eight bytes to a word.

    By swapping halves, quarters and eighths of eight words (Warren, Hacker's Delight, 7-3).
    """
    for j in range(source.shape[0] // 8):
        i = 8 * j
        r0, r1, r2, r3 = source[i], source[i + 1], source[i + 2], source[i + 3]
        r4, r5, r6, r7 = source[i + 4], source[i + 5], source[i + 6], source[i + 7]
        for k in range(source.shape[1]):
            a0, a4 = _halves(r0[k], r4[k])
            a1, a5 = _halves(r1[k], r5[k])
            a2, a6 = _halves(r2[k], r6[k])
            a3, a7 = _halves(r3[k], r7[k])
            b0, b2 = _quarters(a0, a2)
            b1, b3 = _quarters(a1, a3)
            b4, b6 = _quarters(a4, a6)
            b5, b7 = _quarters(a5, a7)
            out[8 * k, j], out[8 * k + 1, j] = _eighths(b0, b1)
            out[8 * k + 2, j], out[8 * k + 3, j] = _eighths(b2, b3)
            out[8 * k + 4, j], out[8 * k + 5, j] = _eighths(b4, b5)
            out[8 * k + 6, j], out[8 * k + 7, j] = _eighths(b6, b7)


@compiled
def _halves(a: np.uint64, b: np.uint64) -> tuple[np.uint64, np.uint64]:
    return (a & _LOW_32) | (b << _32), (a >> _32) | (b & _HIGH_32)


@compiled
def _quarters(a: np.uint64, b: np.uint64) -> tuple[np.uint64, np.uint64]:
    return (a & _LOW_16) | ((b & _LOW_16) << _16), ((a >> _16) & _LOW_16) | (b & _HIGH_16)


@compiled
def _eighths(a: np.uint64, b: np.uint64) -> tuple[np.uint64, np.uint64]:
    return (a & _LOW_8) | ((b & _LOW_8) << _8), ((a >> _8) & _LOW_8) | (b & _HIGH_8)
