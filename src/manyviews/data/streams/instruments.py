"""TIFF as microscopes, cameras and satellites write it, read by tifffile.

Pillow reads the TIFF of photographs. Of others it knows some by half: planar colour of 16 bits
comes out as noise and 16-bit WhiteIsZero as its negative, both silently, and more than four
channels not at all. So the tags decide first which of the two reads a file, and whether anything
can.
"""

import logging
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL.TiffImagePlugin import COMPRESSION_INFO, ImageFileDirectory_v2

from manyviews.core.extras import install

_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BIG = (b"II+\0", b"MM\0+")
_SUBFILE, _REDUCED_OR_MASK = 254, 0b101
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_ORIENTATION, _CHANNELS, _PLANAR, _TILE_WIDTH, _TILE_HEIGHT = 274, 277, 284, 322, 323
_PREDICTOR, _EXTRA, _SAMPLE_FORMAT = 317, 338, 339
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _CMYK = 0, 1, 2, 5
_KINDS = {1: "unsigned", 2: "signed", 3: "floating-point", 4: "unsigned"}  # 4: not said

_SILENT = logging.NullHandler()

MISSING = install("instruments")
"""What reads the files that need more than Pillow."""


@dataclass(frozen=True)
class Tiff:
    """What the tags of a TIFF's first page say.

    Attributes:
        width, height: in pixels, as stored.
        channels: samples of a pixel, alpha included.
        bits: of a sample; the most, where they differ.
        kind: "unsigned", "signed", "floating-point", "complex", or "unlike" where samples differ.
        photometric: tag 262, such as 0 for WhiteIsZero.
        alpha: 0 for none, 1 for colours that are multiplied by it, 2 for colours that are not.
        orientation: as of EXIF, 1 to 8.
        tile: width and height of a tile, (0, 0) for strips.
        known: whether Pillow reads it right.
        compression: tag 259, 1 for none.
        predictor: tag 317, 1 for none and 2 for differences.
    """

    width: int
    height: int
    channels: int
    bits: int
    kind: str
    photometric: int
    alpha: int
    orientation: int
    tile: tuple[int, int]
    known: bool
    compression: int
    predictor: int

    @property
    def mode(self) -> str:
        """Such as "5x16": five channels of 16 bits."""
        return f"{self.channels}x{self.bits}"

    @property
    def spare(self) -> bool:
        """Whether it is RGB and one more channel that is no alpha, which Pillow leaves out."""
        return self.photometric == _RGB and self.channels == 4 and not self.alpha

    def refused(self) -> str:
        """Why nothing here can read it; "" where something can."""
        if self.kind == "unlike":
            return f"a TIFF of {self.channels} channels of unlike depth; save all as 8 or 16 bits"
        if self.bits > 16 or self.kind != "unsigned":
            kind = "" if self.kind == "unsigned" else f" {self.kind}"
            return f"{self.bits}-bit{kind} pixels have no known range; save as 8 or 16 bits"
        if self.predictor not in (1, 2):
            return f"a TIFF of whole numbers with predictor {self.predictor}; save it without"
        if not self.known and self.photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
            return (
                f"a TIFF of {self.channels} channels of {self.bits} bits with photometric "
                f"interpretation {self.photometric}; save it as grey or RGB"
            )
        return ""


def read_tags(file: BinaryIO) -> Tiff | None:
    """What the first page is; None for no TIFF, and for one whose tags are broken."""
    tags = next(_pages(file), None)
    if tags is None:
        return None
    try:
        return _described(tags)
    except (KeyError, TypeError, ValueError, IndexError):
        return None


def count_pages(file: BinaryIO) -> int:
    """Pages of a TIFF, without the smaller copies and masks that some of them have beside them."""
    return sum(not _values(tags, _SUBFILE, 0)[0] & _REDUCED_OR_MASK for tags in _pages(file))


def read_page(file: BinaryIO, tiff: Tiff) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """The first page [H, W, C], uint8 or uint16 with the highest bit used; white is the maximum.

    Raises:
        ValueError: tifffile is not there, or the file is broken or ends early.
    """
    try:
        import tifffile
    except ImportError:
        raise ValueError(_needs(tiff)) from None
    logging.getLogger("tifffile").addHandler(_SILENT)  # or what is broken would be printed as well
    file.seek(0, os.SEEK_END)
    size = file.tell()
    file.seek(0)
    with tifffile.TiffFile(file) as opened:
        page = cast(Any, opened.pages[0])
        starts, counts = page.dataoffsets, page.databytecounts
        if len(starts) != len(counts):
            raise ValueError(f"broken file ({len(starts)} strips with {len(counts)} sizes)")
        parts = list(zip(starts, counts, strict=True))
        least = tiff.width * tiff.height * tiff.channels * tiff.bits // 8
        short = tiff.compression == 1 and sum(count for _, count in parts) < least
        if short or any(start + count > size or not count for start, count in parts):
            raise ValueError("image file is truncated")
        try:
            pixels = page.asarray(maxworkers=1)
        except ValueError as error:
            if "imagecodecs" in str(error):
                raise ValueError(_needs(tiff)) from None
            raise
        axes = page.axes
    if axes not in ("YX", "YXS", "SYX"):
        raise ValueError(f"a TIFF whose page has the axes {axes}; wanted one picture")
    pixels = np.moveaxis(pixels, 0, -1) if axes == "SYX" else pixels
    pixels = pixels[..., None] if axes == "YX" else pixels
    return _scaled(pixels, tiff)


def _scaled(pixels: NDArray[Any], tiff: Tiff) -> NDArray[Any]:
    most = 2**tiff.bits - 1
    if tiff.photometric == _WHITE_IS_ZERO:
        colours = tiff.channels - bool(tiff.alpha)
        pixels = np.concatenate((most - pixels[..., :colours], pixels[..., colours:]), axis=-1)
    if tiff.bits < 8:
        return (pixels.astype(np.uint16) * 255 // most).astype(np.uint8)
    if tiff.bits == 8:
        return pixels.astype(np.uint8)
    return pixels.astype(np.uint16) << (16 - tiff.bits)


def _needs(tiff: Tiff) -> str:
    return (
        f"a TIFF of {tiff.channels} channels of {tiff.bits} bits that Pillow cannot read; {MISSING}"
    )


def _pages(file: BinaryIO) -> Iterator[ImageFileDirectory_v2]:
    """The tags of each page, by Pillow's reader of them; ends where they are broken."""
    file.seek(0)
    start = file.read(8)
    if start[:4] not in _STARTS:
        return
    start += file.read(8) if start[:4] in _BIG else b""
    seen: set[int] = set()
    try:
        tags = ImageFileDirectory_v2(start)
        while tags.next and tags.next not in seen:
            seen.add(tags.next)
            file.seek(tags.next)
            tags.load(file)
            yield tags
    except (struct.error, SyntaxError, OSError, ValueError, TypeError):
        return


def _described(tags: ImageFileDirectory_v2) -> Tiff:
    def one(tag: int, default: int | None = None) -> int:
        return int(_values(tags, tag, default)[0])

    bits, kinds = _values(tags, _BITS, 1), set(_values(tags, _SAMPLE_FORMAT, 1))
    channels, extra = one(_CHANNELS, 1), _values(tags, _EXTRA, 0)
    photometric, compression = one(_PHOTOMETRIC, _WHITE_IS_ZERO), one(_COMPRESSION, 1)
    plain_colours = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3}.get(photometric, 0)
    alpha = extra[0] if extra[0] in (1, 2) and channels == plain_colours + 1 else 0
    one_depth = len(set(bits)) == 1 and len(kinds) == 1
    tall = max(bits) > 8
    known = (
        one_depth
        and _KINDS.get(max(kinds)) == "unsigned"
        and bits[0] in (1, 2, 4, 8, 16)
        and compression in COMPRESSION_INFO
        and (channels in _channels(photometric) or (photometric < _RGB and alpha == 2 and not tall))
        and not (tall and (photometric == _WHITE_IS_ZERO or one(_FILL_ORDER, 1) != 1))
        and not (tall and channels > 1 and one(_PLANAR, 1) != 1)
    )
    orientation = one(_ORIENTATION, 1)
    return Tiff(
        width=one(_WIDTH),
        height=one(_HEIGHT),
        channels=channels,
        bits=max(bits),
        kind=_KINDS.get(max(kinds), "complex") if one_depth else "unlike",
        photometric=photometric,
        alpha=alpha,
        orientation=orientation if 1 <= orientation <= 8 else 1,
        tile=(one(_TILE_WIDTH, 0), one(_TILE_HEIGHT, 0)),
        known=known,
        compression=compression,
        predictor=one(_PREDICTOR, 1),
    )


def _channels(photometric: int) -> tuple[int, ...]:
    """How many channels Pillow knows of a photometric interpretation."""
    return {_WHITE_IS_ZERO: (1,), _BLACK_IS_ZERO: (1,), _RGB: (3, 4), _CMYK: (4,)}.get(
        photometric, (1, 3)
    )


def _values(tags: ImageFileDirectory_v2, tag: int, default: int | None) -> tuple[int, ...]:
    """All values of a tag; KeyError where there are none and no default."""
    found = tags.get(tag, default)
    if found is None:
        raise KeyError(tag)
    return cast("tuple[int, ...]", found if isinstance(found, tuple) else (found,))
