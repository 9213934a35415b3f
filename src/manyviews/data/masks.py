"""A file with a whole number a pixel becomes an array, or says why it cannot."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from manyviews.core.sample import Unreadable
from manyviews.data.sources import Files
from manyviews.data.streams.image import may_be_turned

_NUMBERS = ("1", "L", "P", "I", "I;16", "I;16B")
"""Pillow's modes in which a pixel is one whole number; of a palette that is its place there."""

_LARGEST = 2**16


def read_mask(path: str, *, max_pixels: int) -> NDArray[np.int32]:
    """The numbers [H, W] of a PNG of 1, 8 or 16 bits, grey or with a palette, as stored.

    Raises:
        Unreadable: no image, colours, or more pixels than allowed.
    """
    try:
        with Image.open(path) as image:
            if image.width * image.height > max_pixels:
                size = f"{image.width} x {image.height}"
                raise Unreadable(path, f"{size} pixels are more than --max-pixels {max_pixels}")
            if image.mode not in _NUMBERS:
                raise Unreadable(path, f"holds {image.mode} colours; wanted one number a pixel")
            numbers = np.asarray(image).astype(np.int64)
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError) as error:
        raise Unreadable(path, f"cannot be read as a mask ({error})") from None
    if numbers.min() < 0 or numbers.max() >= _LARGEST:
        raise Unreadable(path, f"holds {numbers.max()}; wanted 0 to {_LARGEST - 1}")
    return numbers.astype(np.int32)


def read_mask_of(source: Files, index: int, path: str, *, max_pixels: int) -> NDArray[np.int32]:
    """The mask [H, W] of an image, which has that image's upright size.

    Raises:
        Unreadable: as `read_mask`, or of another size.
    """
    mask = read_mask(path, max_pixels=max_pixels)
    height, width = upright_size(source, index)
    if mask.shape != (height, width):
        sizes = f"{mask.shape[1]} x {mask.shape[0]} pixels and its image {width} x {height}"
        raise Unreadable(path, f"has {sizes}")
    return mask


def upright_size(source: Files, index: int) -> tuple[int, int]:
    """Height and width of an image as `read` gives it. Raises `Unreadable`."""
    header = source.header(index)
    if not may_be_turned(source.name(index)):
        return header.height, header.width
    height, width = source.read(index).shape[:2]  # a photograph may be stored on its side
    return height, width
