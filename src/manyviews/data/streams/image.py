"""A file becomes uint8 pixels [H, W, C], or says why it cannot.

Pillow reads everything, from the header first, so that an image above the pixel limit is refused
before any of it is decoded. Plain 8-bit JPEG, the common case, is decoded by torchvision, which
gives the same pixels about 2.7 times as fast and refuses truncated files; TIFF that Pillow does
not know, or only half, by tifffile.

Pillow's pixel limit and Python's warning filters are settings of the process: decode in one
thread per process.
"""

import functools
import os
import re
import stat
import struct
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from manyviews.core.sample import WHOLE, Bytes, Unreadable, Window
from manyviews.data.streams.instruments import Tiff, count_pages, read_page, read_tags
from manyviews.data.streams.jpeg import decode_jpeg
from manyviews.data.streams.png import without_texts

_ENDINGS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "DIB": (".dib",),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "QOI": (".qoi",),
    "SGI": (".sgi",),
    "SUN": (".ras",),
}
"""The formats that are opened, whatever a file is called, and their endings."""

_BY_NAME = {".tga": "TGA", ".pcx": "PCX"}
"""Formats that nearly any file begins like: opened only where the name says so."""

SUFFIXES = frozenset(_BY_NAME).union(*_ENDINGS.values())
"""Files with these endings (in any case) are taken for images."""

_ORIENTATION = 0x0112
_SIXTEEN_BITS_IN_32 = ("PNG", "PPM")


def suffixes(channels: int) -> frozenset[str]:
    """Endings of the files that are images of so many channels: with other than 1 and 3, arrays."""
    return SUFFIXES if channels in (1, 3) else SUFFIXES | {".npy"}


@dataclass(frozen=True)
class Header:
    """What a file's header says: width and height in pixels as stored, Pillow's mode, the format.

    A TIFF or .npy file that Pillow does not read has a mode such as "5x16", five channels of 16
    bits. Of a file with several `pages` (or frames) the first is read.
    """

    width: int
    height: int
    mode: str
    format: str
    pages: int = 1


def read(path: str, *, channels: int, max_pixels: int) -> Bytes:
    """The upright pixels of a file: [H, W, channels] uint8.

    The first page of a stack and the first frame of an animation; transparency composited on
    white; 16 bits scaled to 8 by taking the high byte; grey repeated to 3 channels and RGB weighed
    to 1 (ITU-R 601 luma). For any other number of channels the file has to have exactly that many.
    What stands beside the pixels (texts, colour profiles, a broken EXIF block) never costs them.

    Raises:
        Unreadable: for whatever reason, the pixel limit included.
    """
    with _reasons(path), _regular(path) as file:
        if path.lower().endswith(".npy"):
            return _fit(_eight_bit(np.array(_open_npy(path, max_pixels))), channels)
        try:
            return _read(file, path, channels, max_pixels)
        except Exception:
            shorter = without_texts(file)
            if shorter is None:
                raise
            return _read(shorter, path, channels, max_pixels)


def _read(file: BinaryIO, path: str, channels: int, max_pixels: int) -> Bytes:
    tiff = _tiff(file, max_pixels)
    if tiff is not None and (not tiff.known or (tiff.spare and channels == 4)):
        return np.ascontiguousarray(_turn(_of_page(file, tiff, channels), tiff.orientation))
    with _open(file, path, max_pixels) as image:
        if image.format in ("JPEG", "MPO") and image.mode in ("L", "RGB"):
            turn = _orientation(image)
            file.seek(0)
            pixels = decode_jpeg(bytearray(file.read()))
        else:
            image.load()
            turn = _orientation(image)  # after load: Pillow turns TIFF files itself
            pixels = _decode(image, channels)
    return np.ascontiguousarray(_turn(_fit(pixels, channels), turn))


def read_header(path: str, *, max_pixels: int) -> Header:
    """Size, mode and format, without decoding.

    Raises:
        Unreadable: no image, or more pixels than allowed.
    """
    with _reasons(path), _regular(path) as file:
        if path.lower().endswith(".npy"):
            array = _open_npy(path, max_pixels)
            height, width, bands = array.shape
            return Header(width, height, f"{bands}x{array.dtype.itemsize * 8}", "NPY")
        try:
            return _header(file, path, max_pixels)
        except Exception:
            shorter = without_texts(file)
            if shorter is None:
                raise
            return _header(shorter, path, max_pixels)


def _header(file: BinaryIO, path: str, max_pixels: int) -> Header:
    tiff = _tiff(file, max_pixels)
    pages = 1 if tiff is None else count_pages(file)
    if tiff is not None and not tiff.known:
        return Header(tiff.width, tiff.height, tiff.mode, "TIFF", pages)
    with _open(file, path, max_pixels) as image:
        # The other pictures of a photograph (MPO) are smaller copies and depths of the first.
        if image.format not in ("TIFF", "JPEG", "MPO"):
            pages = int(getattr(image, "n_frames", 1))
        return Header(image.width, image.height, image.mode, image.format or "", pages)


def _regular(path: str) -> BinaryIO:
    """Open a file to read; what is none, such as a named pipe, is not waited for."""

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))

    # `open`, so that the file knows its name: tifffile asks for it
    file = open(path, "rb", opener=opener)  # noqa: SIM115 - Path.open takes no opener
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ValueError("is no regular file")
    return file


@contextmanager
def _reasons(path: str) -> Generator[None]:
    """Silence warnings, and turn whatever a decoder raises into `Unreadable`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except Unreadable:
            raise
        except Exception as error:
            raise Unreadable(path, _reason(path, error)) from error


def _reason(path: str, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return error.strerror
    if isinstance(error, UnidentifiedImageError):
        with Path(path).open("rb") as file:
            start = file.read(8)
        if not start:
            return "empty file"
        return f"not an image of a known format, or its header is broken (begins with {start!r})"
    if isinstance(error, MemoryError):
        return "not enough memory to decode it"
    lines = str(error).strip().splitlines()
    if isinstance(error, ArithmeticError | LookupError | TypeError | struct.error):
        # a decoder that stumbled: the words alone, such as "division by zero", say nothing
        return f"broken file ({type(error).__name__}: {' '.join(lines)[:150]})"
    if type(error) is RuntimeError and lines:
        # torchvision's, which puts its own source location before the message (since 0.27), and a
        # trace behind it
        return "broken JPEG: " + re.split(r"\.cpp:\d+[:,] *", lines[0])[-1][:200]
    return (lines[0] if lines else type(error).__name__)[:200]


@contextmanager
def _open(file: BinaryIO, path: str, max_pixels: int) -> Generator[Image.Image]:
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None  # ours holds, not Pillow's
    try:
        file.seek(0)
        with Image.open(file, formats=formats(Path(path).suffix.lower())) as image:
            _limit(image.width, image.height, max_pixels)
            yield image
    finally:
        Image.MAX_IMAGE_PIXELS = limit


@functools.cache
def formats(ending: str) -> tuple[str, ...]:
    """Those of ours that this Pillow has."""
    Image.init()
    wanted = (*_ENDINGS, _BY_NAME[ending]) if ending in _BY_NAME else (*_ENDINGS,)
    return tuple(name for name in wanted if name in Image.OPEN)


def _limit(width: int, height: int, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise ValueError(f"has no pixels ({width} x {height})")
    if width * height > max_pixels:
        raise ValueError(
            f"{width} x {height} is {width * height:,} pixels, "
            f"more than --data.max-pixels {max_pixels:,}"
        )


def may_be_turned(path: str) -> bool:
    """Whether rows as stored may be the columns of `read`'s upright image; nothing is decoded."""
    try:
        with Image.open(path) as image:
            return _orientation(image) >= 5
    except Exception:  # noqa: BLE001, RUF100 - Pillow does not know it, so only `read` can tell
        return True


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001, RUF100 - whatever is wrong with the block: taken as upright
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _turn(pixels: Bytes, orientation: int) -> Bytes:
    """Undo an EXIF orientation: what a viewer does before it shows the image."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _decode(image: Image.Image, channels: int) -> Bytes:
    """Pixels of a loaded Pillow image, [H, W, 1 or 3], or all its bands where others are wanted."""
    mode = image.mode
    if mode == "F" or (mode == "I" and image.format not in _SIXTEEN_BITS_IN_32):
        raise ValueError("32-bit pixels have no known range; save as 8 or 16 bits")
    if mode.startswith("I"):
        return _eight_bit(np.asarray(image)[..., None].astype(np.uint16))
    if channels not in (1, 3):
        if mode in ("1", "P", "PA"):
            raise ValueError(f"a palette image (mode {mode}) has no {channels} channels")
        bands = np.asarray(image)
        return bands if bands.ndim == 3 else bands[..., None]
    if image.has_transparency_data:
        grey = mode in ("1", "L", "LA", "La")
        return _on_white(np.asarray(image.convert("LA" if grey else "RGBA")))
    if mode in ("1", "L"):
        return np.asarray(image.convert("L"))[..., None]
    return np.asarray(image.convert("RGB"))


def _on_white(pixels: Bytes, *, multiplied: bool = False) -> Bytes:
    alpha, colours = pixels[..., -1:].astype(np.uint16), pixels[..., :-1]
    if multiplied:
        return np.minimum(colours + (255 - alpha), 255).astype(np.uint8)
    return ((colours * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _eight_bit(pixels: NDArray[Any]) -> Bytes:
    """Of 16 bits the high byte, as Pillow takes it of 16-bit RGB."""
    return np.asarray(pixels >> 8 if pixels.dtype.itemsize == 2 else pixels, np.uint8)


def _fit(pixels: Bytes, channels: int) -> Bytes:
    found = pixels.shape[2]
    if found == channels:
        return pixels
    if channels == 1 and found == 3:
        return np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
    if channels == 3 and found == 1:
        return np.repeat(pixels, 3, axis=2)
    raise ValueError(_other(found, channels))


def _other(found: int, channels: int) -> str:
    return f"has {found} channels; --data.channels wants {channels}"


def _open_npy(path: str, max_pixels: int) -> NDArray[Any]:
    """A file of one array [H, W] or [H, W, C], uint8 or uint16, mapped and not yet read."""
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.ndim not in (2, 3) or array.dtype.kind != "u" or array.dtype.itemsize > 2:
        shape = "x".join(map(str, array.shape))
        raise ValueError(f"is {array.dtype} {shape}; wanted uint8 or uint16 [H, W] or [H, W, C]")
    _limit(array.shape[1], array.shape[0], max_pixels)
    return array[..., None] if array.ndim == 2 else array


def _tiff(file: BinaryIO, max_pixels: int) -> Tiff | None:
    """What a TIFF is, of which something here can read the first page; None for anything else."""
    tiff = read_tags(file)
    if tiff is None:
        return None
    _limit(tiff.width, tiff.height, max_pixels)
    if tiff.tile[0] * tiff.tile[1] > max_pixels:
        raise ValueError(f"has tiles of {tiff.tile[0]} x {tiff.tile[1]} pixels")
    if reason := tiff.refused():
        raise ValueError(reason)
    return tiff


def _of_page(file: BinaryIO, tiff: Tiff, channels: int) -> Bytes:
    """Pixels [H, W, channels] of a TIFF that Pillow does not know."""
    colours = tiff.channels
    if channels in (1, 3) and (tiff.alpha or tiff.spare):
        colours -= 1
    if channels != colours and (channels, colours) not in ((1, 3), (3, 1)):
        raise ValueError(_other(tiff.channels, channels))
    pixels = _eight_bit(read_page(file, tiff))
    if colours < tiff.channels and tiff.alpha:
        pixels = _on_white(pixels, multiplied=tiff.alpha == 1)
    return _fit(pixels[..., :colours], channels)


@dataclass(frozen=True)
class ImageFile:
    """An image file as a stream: opened, not decoded.

    Attributes:
        path: of the file.
        channels: it is brought to so many when it is read.
        max_pixels: more are refused from the header.
    """

    path: str
    channels: int
    max_pixels: int
    span: float = 0.0

    def read(self, window: Window = WHOLE) -> Bytes:
        """[H, W, C] uint8, upright; see `read`. Raises `Unreadable`."""
        del window
        return read(self.path, channels=self.channels, max_pixels=self.max_pixels)
