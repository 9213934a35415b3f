"""`manyviews pack`: copy data once into few large files that read fast."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from manyviews.core.errors import UsageError
from manyviews.data.settings import MAX_PIXELS
from manyviews.data.there import check_there
from manyviews.verbs.parse import Flag, Positional

if TYPE_CHECKING:
    from manyviews.data.pack.make import PackReport
    from manyviews.data.pack.videos import VideoPackReport


def pack(
    data: Positional[str | Path],
    out: Positional[str | Path],
    *,
    size: int = 256,
    format: Literal["jpeg", "uint8"] = "jpeg",  # noqa: A002, RUF100 - the flag
    quality: int = 90,
    channels: int = 0,
    max_pixels: int = MAX_PIXELS,
    workers: int = -1,
    videos: Flag = False,
    gop: int = 8,
    crf: int = 20,
) -> "PackReport | VideoPackReport":
    """Copy DATA once, resized, into few large files with checksums; OUT is then a DATA.

    With --videos: copy its videos, resized and with near key frames, a file each, so that clips at
    random times are cheap to read; upright, each frame at its time, the sound as it was.

    Interrupted, the same command goes on where it stopped; when all is done it does nothing.

    Args:
        data: a folder, a text file of paths, fashion-mnist:DIR or builtin:fashion; with --videos
            also frames:DIR@RATE.
        out: the folder to make, or one that an interrupted call left.
        size: the shorter side of larger images becomes so many pixels; none is enlarged.
        format: JPEG files, or uint8 pixels, larger and with nothing to decode.
        quality: of JPEG, 1 to 100. A JPEG that needs no resizing is kept as it is.
        channels: bring images to this many; 0 takes what most have.
        max_pixels: larger images are refused from their header.
        workers: decoding processes; -1 takes a core each.
        videos: pack videos; --size 256 is theirs too, --format, --quality and --channels are not.
        gop: frames of a video from one key frame to the next.
        crf: quality of H.264 from 0, which loses nothing, to 51.
    """
    data = str(data)
    check_there(data)
    if videos:
        if (format, quality, channels) != ("jpeg", 90, 0):
            raise UsageError(
                "--format, --quality and --channels are of images. Leave them out, or --videos."
            )
        from manyviews.data.pack.videos import pack_videos

        return pack_videos(data, out, size=size, gop=gop, crf=crf, workers=workers)
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
