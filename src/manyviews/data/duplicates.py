"""Copies among images: the same content, or nearly the same picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from manyviews.core.sample import Bytes

NEAR = 3
"""Bits of 64 in which the hashes of near-duplicates may differ."""

ALIKE = 4.0
"""Mean difference of the thumbnails of near-duplicates, in levels of 255, at most."""

_SIDE = 16
_BITS = 16
_ROWS = 256
_COMPARED = 32


@dataclass(frozen=True)
class Print:
    """What is kept of an image to find its copies.

    Attributes:
        hash: 64-bit difference hash (dHash): whether each of 8 x 8 areas is darker than the one
            to its right.
        thumbnail: 256 bytes, the image as 16 x 16 grey levels.
    """

    hash: int
    thumbnail: bytes


def print_of(image: Bytes) -> Print:
    """The print of [H, W, C] uint8."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.shape[2] == 3 else image[..., 0]
    grey = np.ascontiguousarray(grey)
    areas = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    thumbnail = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    bits = np.packbits(areas[:, :-1] < areas[:, 1:])
    return Print(int.from_bytes(bits.tobytes(), "big"), thumbnail.tobytes())


def near(prints: Sequence[Print]) -> NDArray[np.int64]:
    """For each image an earlier one that looks nearly the same, else -1: [N] int64.

    Nearly the same means hashes within 3 of 64 bits, and thumbnails within 4 of 255 levels on
    average: resized, recompressed or slightly retouched copies. Two hashes that differ in 3 bits
    agree in one of their 4 quarters, so only images that share a quarter are compared, and of
    those with hashes as near the first 32: flat images all have the same hash.
    """
    first = np.full(len(prints), -1, np.int64)
    place: dict[Print, int] = {}
    for i, item in enumerate(prints):
        first[i] = place.setdefault(item, i)
    kept = np.fromiter(place.values(), np.int64, len(place))
    first[kept] = -1
    found = _near_distinct(list(place))
    first[kept[found >= 0]] = kept[found[found >= 0]]
    return first


def _near_distinct(prints: Sequence[Print]) -> NDArray[np.int64]:
    count = len(prints)
    hashes = np.array([p.hash for p in prints], np.uint64)
    thumbnails = np.frombuffer(b"".join(p.thumbnail for p in prints), np.uint8)
    thumbnails = thumbnails.reshape(count, _SIDE * _SIDE)
    first = np.full(count, count, np.int64)
    for quarter in range(64 // _BITS):
        part = (hashes >> np.uint64(quarter * _BITS)) & np.uint64(2**_BITS - 1)
        order = np.argsort(part, kind="stable")
        edges = np.flatnonzero(np.diff(part[order])) + 1
        for bucket in np.split(order, edges):
            if len(bucket) > 1:
                _within(bucket, hashes, thumbnails, first)
    first[first == count] = -1
    return first


def _within(
    bucket: NDArray[np.int64],
    hashes: NDArray[np.uint64],
    thumbnails: NDArray[np.uint8],
    first: NDArray[np.int64],
) -> None:
    """Lower `first` to the earliest near-duplicate in a bucket of ascending positions."""
    for top in range(0, len(bucket), _ROWS):
        rows = bucket[top : top + _ROWS]
        before = bucket[: top + len(rows)]
        close = np.bitwise_count(hashes[rows][:, None] ^ hashes[before][None]) <= NEAR
        close &= before[None] < rows[:, None]
        if not close.any():
            continue
        if len(before) > _COMPARED:
            close &= np.cumsum(close, axis=1, dtype=np.int32) <= _COMPARED
        later, earlier = np.nonzero(close)
        a, b = rows[later], before[earlier]
        apart = np.abs(thumbnails[a].astype(np.int16) - thumbnails[b]).mean(axis=1)
        np.minimum.at(first, a[apart <= ALIKE], b[apart <= ALIKE])
