"""`manyviews pack`: copy data once into few large files that read fast."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from manyviews.data.settings import MAX_PIXELS
from manyviews.verbs.parse import Positional

if TYPE_CHECKING:
    from manyviews.data.pack.make import PackReport

    pass


def pack(
    data: Positional[str],
    out: Positional[str | Path],
    *,
    size: int = 256,
    format: Literal["jpeg", "uint8"] = "jpeg",  # noqa: A002, RUF100 - the flag
    quality: int = 90,
    channels: int = 0,
    max_pixels: int = MAX_PIXELS,
    workers: int = -1,
) -> "PackReport":
    """Copy DATA once, resized, into few large files with checksums; OUT is then a DATA.

    Interrupted, the same command goes on where it stopped; when all is done it does nothing.

    Args:
        data: a folder, a text file of paths, fashion-mnist:DIR or builtin:fashion.
        out: the folder to make, or one that an interrupted call left.
        size: the shorter side of larger images becomes so many pixels; none is enlarged.
        format: JPEG files, or uint8 pixels, larger and with nothing to decode.
        quality: of JPEG, 1 to 100. A JPEG that needs no resizing is kept as it is.
        channels: bring images to this many; 0 takes what most have.
        max_pixels: larger images are refused from their header.
        workers: decoding processes; -1 takes a core each.
    """
    from manyviews.data.pack import make

    return make.pack(
        data,
        out,
        size=size,
        format=format,
        quality=quality,
        channels=channels,
        max_pixels=max_pixels,
        workers=workers,
    )
