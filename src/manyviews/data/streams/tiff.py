"""TIFF files of any number of channels, which neither Pillow nor OpenCV can read.

Only what instruments and GIS tools commonly write: classic TIFF (6.0), strips, 8 or 16 bits per
channel, chunky or planar, not compressed or deflated, with or without horizontal differencing.
"""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

_WIDTH, _HEIGHT, _BITS, _COMPRESSION = 256, 257, 258, 259
_OFFSETS, _CHANNELS, _ROWS, _COUNTS = 273, 277, 278, 279
_PLANAR, _PREDICTOR, _TILE_WIDTH, _SAMPLE_FORMAT = 284, 317, 322, 339
_TYPES = {1: "B", 3: "H", 4: "I"}


@dataclass(frozen=True)
class TiffHeader:
    """The first image of a TIFF file: size in pixels, channels, bits per channel, and its tags."""

    width: int
    height: int
    channels: int
    bits: int
    order: str
    tags: Mapping[int, tuple[int, ...]]


def read_tiff_header(file: BinaryIO) -> TiffHeader:
    """The tags of the first image.

    Raises:
        ValueError, KeyError, struct.error: not a classic TIFF, or a broken one.
    """
    file.seek(0)
    order = {b"II": "<", b"MM": ">"}[file.read(2)]
    version, start = struct.unpack(order + "HI", file.read(6))
    if version != 42:
        raise ValueError("not a classic TIFF")
    file.seek(start)
    (count,) = struct.unpack(order + "H", file.read(2))
    entries = file.read(12 * count)
    tags = {
        tag: _values(file, order, kind, number, entries[12 * i + 8 : 12 * i + 12])
        for i in range(count)
        for tag, kind, number in [struct.unpack_from(order + "HHI", entries, 12 * i)]
        if kind in _TYPES
    }
    return TiffHeader(
        width=tags[_WIDTH][0],
        height=tags[_HEIGHT][0],
        channels=tags.get(_CHANNELS, (1,))[0],
        bits=tags.get(_BITS, (1,))[0],
        order=order,
        tags=tags,
    )


def read_tiff(file: BinaryIO, header: TiffHeader) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """The pixels [H, W, C], uint8 or uint16.

    Raises:
        ValueError: a kind of TIFF that this reader does not know, or one that ends early.
    """
    _known(header)
    dtype = np.dtype(f"{header.order}u{header.bits // 8}")
    planar = header.tags.get(_PLANAR, (1,))[0] == 2
    compression = header.tags.get(_COMPRESSION, (1,))[0]
    depth = 1 if planar else header.channels
    rows = min(header.tags.get(_ROWS, (header.height,))[0], header.height) or header.height
    heights = [min(rows, header.height - top) for top in range(0, header.height, rows)]
    strips: list[NDArray[np.uint8]] = []
    places = zip(header.tags[_OFFSETS], header.tags[_COUNTS], strict=True)
    for (offset, size), height in zip(
        places, heights * (header.channels if planar else 1), strict=True
    ):
        file.seek(offset)
        data = file.read(size)
        wanted = height * header.width * depth * dtype.itemsize
        if compression != 1:
            data = zlib.decompressobj().decompress(data, wanted)  # never more than is wanted
        if len(data) < wanted:
            raise ValueError("image file is truncated")
        strip = np.frombuffer(data[:wanted], dtype).reshape(height, header.width, depth)
        if header.tags.get(_PREDICTOR, (1,))[0] == 2:
            strip = np.cumsum(strip, axis=1, dtype=dtype.newbyteorder("="))
        strips.append(strip)
    if planar:
        planes = np.concatenate(strips).reshape(header.channels, header.height, header.width)
        return np.moveaxis(planes, 0, -1).astype(dtype.newbyteorder("="))
    return np.concatenate(strips).astype(dtype.newbyteorder("="))


def _known(header: TiffHeader) -> None:
    tags = header.tags
    odd = (
        (_TILE_WIDTH in tags, "is tiled"),
        (header.bits not in (8, 16) or len(set(tags[_BITS])) > 1, f"has {tags[_BITS]} bits"),
        (set(tags.get(_SAMPLE_FORMAT, (1,))) != {1}, "has signed or floating-point pixels"),
        (tags.get(_COMPRESSION, (1,))[0] not in (1, 8, 32946), "is compressed, not by deflate"),
        (tags.get(_PREDICTOR, (1,))[0] not in (1, 2), "has an unknown predictor"),
    )
    for wrong, what in odd:
        if wrong:
            raise ValueError(
                f"a TIFF of {header.channels} channels that {what}; save it with strips, "
                "8 or 16 bits, uncompressed or deflated, or as .npy"
            )


def _values(file: BinaryIO, order: str, kind: int, number: int, field: bytes) -> tuple[int, ...]:
    code = f"{order}{number}{_TYPES[kind]}"
    size = struct.calcsize(code)
    if size > 4:
        file.seek(struct.unpack(order + "I", field)[0])
        field = file.read(size)
    return struct.unpack(code, field[:size])
