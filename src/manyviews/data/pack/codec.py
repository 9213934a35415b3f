"""The bytes of an image in a pack: a JPEG file, or rows of uint8 pixels."""

import io
import warnings
from typing import Literal

import numpy as np
from PIL import Image

from manyviews.core.sample import Bytes
from manyviews.data.streams.jpeg import decode_jpeg

Format = Literal["jpeg", "uint8"]

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of a JPEG's frame header, which says its size."""
_ALONE = frozenset((0x01, *range(0xD0, 0xD9)))
"""Markers without a segment behind them."""


def decode(data: bytes | bytearray, format: Format, shape: tuple[int, int, int]) -> Bytes:
    """[H, W, C] uint8 of an image's bytes in a shard. Pixels take over the memory of a bytearray.

    Raises:
        ValueError, RuntimeError: they are not of an image of that shape.
    """
    # torch and numpy warn of memory that they must not write to
    kept = data if isinstance(data, bytearray) else bytearray(data)
    if format == "uint8":
        return np.frombuffer(kept, np.uint8).reshape(shape)
    said = jpeg_size(kept)
    if said != shape[:2]:
        raise ValueError(f"says that it is {said}, not {shape[:2]} as the index has it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision says at every call that it will move
        pixels = decode_jpeg(kept)
    if pixels.shape != shape:
        raise ValueError(f"is {pixels.shape}, not {shape} as the index has it")
    return np.ascontiguousarray(pixels)


def jpeg_size(data: bytes | bytearray) -> tuple[int, int]:
    """Height and width that a JPEG claims to have, from its first frame header; nothing is decoded.

    Markers are looked for as libjpeg does: what stands between segments is passed over.

    Raises:
        ValueError: there is no frame header.
    """
    at = 2
    while 0 <= (at := data.find(b"\xff", at)) < len(data) - 8:
        marker = data[at + 1]
        if marker in (0x00, 0xFF):  # no marker, and one byte to fill up
            at += 2 if marker == 0x00 else 1
        elif marker in _ALONE:
            at += 2
        elif marker in _FRAMES:
            return int.from_bytes(data[at + 5 : at + 7]), int.from_bytes(data[at + 7 : at + 9])
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4])
    raise ValueError("is no JPEG: it has no frame header")


def encode(pixels: Bytes, format: Format, quality: int) -> bytes:
    """The bytes of [H, W, C] uint8 in a shard."""
    if format == "uint8":
        return pixels.tobytes()
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(
        file, "JPEG", quality=quality
    )
    return file.getvalue()


def fit(pixels: Bytes, channels: int) -> Bytes:
    """Grey repeated to 3 channels, RGB weighed to 1 (ITU-R 601 luma), or as it is."""
    if channels == pixels.shape[2]:
        return pixels
    if channels == 1:
        return np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
    return np.repeat(pixels, channels, axis=2)
