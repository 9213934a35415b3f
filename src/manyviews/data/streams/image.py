"""A file becomes uint8 pixels [H, W, C], or says why it cannot.

Pillow reads everything, from the header first, so that an image above the pixel limit is refused
before any of it is decoded. Plain 8-bit JPEG, the common case, is decoded by torchvision, which
gives the same pixels about 2.7 times as fast and refuses truncated files.

Pillow's pixel limit and Python's warning filters are settings of the process: decode in one
thread per process.
"""

import struct
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torchvision.io import decode_jpeg

from manyviews.core.sample import WHOLE, Unreadable, Window
from manyviews.data.streams.tiff import TiffHeader, read_tiff, read_tiff_header

Pixels = NDArray[np.uint8]

SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif")
)
"""Files with these endings (in any case) are taken for images."""

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF")
_ORIENTATION = 0x0112
_TIFF_STARTS = (b"II*\0", b"MM\0*")


def suffixes(channels: int) -> frozenset[str]:
    """Endings of the files that are images of so many channels: with other than 1 and 3, arrays."""
    return SUFFIXES if channels in (1, 3) else SUFFIXES | {".npy"}


@dataclass(frozen=True)
class Header:
    """What a file's header says: width and height in pixels as stored, Pillow's mode, the format.

    A TIFF or .npy file with other channels than Pillow knows has a mode such as "5x16", five
    channels of 16 bits.
    """

    width: int
    height: int
    mode: str
    format: str


def read(path: str, *, channels: int, max_pixels: int) -> Pixels:
    """The upright pixels of a file: [H, W, channels] uint8.

    The first frame of an animation; transparency composited on white; 16 bits scaled to 8 by
    taking the high byte; grey repeated to 3 channels and RGB weighed to 1 (ITU-R 601 luma). For
    any other number of channels the file has to have exactly that many.

    Raises:
        Unreadable: for whatever reason, the pixel limit included.
    """
    with _reasons(path), Path(path).open("rb") as file:
        if path.lower().endswith(".npy"):
            return _fit(_eight_bit(np.array(_open_npy(path, max_pixels))), channels)
        wide = _wide_tiff(file)
        if wide is not None:
            _limit(wide.width, wide.height, max_pixels)
            return _fit(_eight_bit(read_tiff(file, wide)), channels)
        with _open(file, max_pixels) as image:
            if image.format in ("JPEG", "MPO") and image.mode in ("L", "RGB"):
                turn = _orientation(image)
                file.seek(0)
                pixels = _decode_jpeg(file.read())
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
    with _reasons(path), Path(path).open("rb") as file:
        if path.lower().endswith(".npy"):
            array = _open_npy(path, max_pixels)
            height, width, bands = array.shape
            return Header(width, height, f"{bands}x{array.dtype.itemsize * 8}", "NPY")
        wide = _wide_tiff(file)
        if wide is not None:
            _limit(wide.width, wide.height, max_pixels)
            return Header(wide.width, wide.height, f"{wide.channels}x{wide.bits}", "TIFF")
        with _open(file, max_pixels) as image:
            return Header(image.width, image.height, image.mode, image.format or "")


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
    if isinstance(error, RuntimeError) and lines and "decode_jpeg" in lines[0]:
        # torchvision puts its own source location before the message
        return "broken JPEG: " + lines[0].rpartition(": ")[2][:200]
    return (lines[0] if lines else type(error).__name__)[:200]


@contextmanager
def _open(file: BinaryIO, max_pixels: int) -> Generator[Image.Image]:
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None  # ours holds, not Pillow's
    try:
        file.seek(0)
        with Image.open(file, formats=_FORMATS) as image:
            _limit(image.width, image.height, max_pixels)
            yield image
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _limit(width: int, height: int, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise ValueError(f"has no pixels ({width} x {height})")
    if width * height > max_pixels:
        raise ValueError(
            f"{width} x {height} is {width * height:,} pixels, "
            f"more than --data.max-pixels {max_pixels:,}"
        )


def _orientation(image: Image.Image) -> int:
    value = image.getexif().get(_ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _turn(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation: what a viewer does before it shows the image."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _decode_jpeg(data: bytes) -> Pixels:
    # bytearray: torch warns of memory that it must not write to
    stored = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    return cast("torch.Tensor", decode_jpeg(stored)).permute(1, 2, 0).numpy()


def _decode(image: Image.Image, channels: int) -> Pixels:
    """Pixels of a loaded Pillow image, [H, W, 1 or 3], or all its bands where others are wanted."""
    mode = image.mode
    if mode == "F" or (mode == "I" and image.format != "PNG"):
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


def _on_white(pixels: Pixels) -> Pixels:
    alpha = pixels[..., -1:].astype(np.uint16)
    return ((pixels[..., :-1] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _eight_bit(pixels: NDArray[Any]) -> Pixels:
    """Of 16 bits the high byte, as Pillow takes it of 16-bit RGB."""
    return np.asarray(pixels >> 8 if pixels.dtype.itemsize == 2 else pixels, np.uint8)


def _fit(pixels: Pixels, channels: int) -> Pixels:
    found = pixels.shape[2]
    if found == channels:
        return pixels
    if channels == 1 and found == 3:
        return np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
    if channels == 3 and found == 1:
        return np.repeat(pixels, 3, axis=2)
    raise ValueError(f"has {found} channels; --data.channels wants {channels}")


def _open_npy(path: str, max_pixels: int) -> NDArray[Any]:
    """A file of one array [H, W] or [H, W, C], uint8 or uint16, mapped and not yet read."""
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.ndim not in (2, 3) or array.dtype.kind != "u" or array.dtype.itemsize > 2:
        shape = "x".join(map(str, array.shape))
        raise ValueError(f"is {array.dtype} {shape}; wanted uint8 or uint16 [H, W] or [H, W, C]")
    _limit(array.shape[1], array.shape[0], max_pixels)
    return array[..., None] if array.ndim == 2 else array


def _wide_tiff(file: BinaryIO) -> TiffHeader | None:
    """The header of a TIFF whose channels Pillow cannot represent, else None."""
    if file.read(4) not in _TIFF_STARTS:
        return None
    try:
        header = read_tiff_header(file)
    except (ValueError, KeyError, struct.error):
        return None  # Pillow will say what is wrong with it
    return header if header.channels not in (1, 3, 4) else None


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

    def read(self, window: Window = WHOLE) -> Pixels:
        """[H, W, C] uint8, upright; see `read`. Raises `Unreadable`."""
        del window
        return read(self.path, channels=self.channels, max_pixels=self.max_pixels)
