"""TIFF files of many channels, made by hand because no library here writes them."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from manyviews.core.sample import Unreadable
from manyviews.data.streams import image as decode


def write_tiff(
    path: Path,
    image: np.ndarray,
    *,
    order: str = "<",
    rows: int = 2,
    planar: bool = False,
    deflate: bool = False,
    predictor: bool = False,
    extra: dict[int, int] | None = None,
) -> None:
    """Lay out a classic TIFF: header, strips, arrays of tags, directory."""
    height, width, channels = image.shape
    image = image.astype(image.dtype.newbyteorder(order))
    planes = [image[..., c : c + 1] for c in range(channels)] if planar else [image]
    strips: list[bytes] = []
    for plane in planes:
        for top in range(0, height, rows):
            strip = plane[top : top + rows]
            if predictor:
                first = np.zeros_like(strip[:, :1])
                strip = np.diff(strip, axis=1, prepend=first).astype(image.dtype)
            data = strip.tobytes()
            strips.append(zlib.compress(data) if deflate else data)
    body = b"".join(strips)
    offsets = np.cumsum([8] + [len(s) for s in strips])[:-1].tolist()
    tags: dict[int, tuple[str, list[int]]] = {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [image.dtype.itemsize * 8] * channels),
        259: ("H", [8 if deflate else 1]),
        262: ("H", [1]),
        273: ("I", offsets),
        277: ("H", [channels]),
        278: ("I", [rows]),
        279: ("I", [len(s) for s in strips]),
        284: ("H", [2 if planar else 1]),
        317: ("H", [2 if predictor else 1]),
    }
    for tag, value in (extra or {}).items():
        tags[tag] = ("H", [value])
    arrays, entries = b"", b""
    place = 8 + len(body)
    for tag in sorted(tags):
        code, values = tags[tag]
        packed = struct.pack(f"{order}{len(values)}{code}", *values)
        if len(packed) > 4:
            field = struct.pack(order + "I", place + len(arrays))
            arrays += packed
        else:
            field = packed.ljust(4, b"\0")
        entries += struct.pack(order + "HHI", tag, {"H": 3, "I": 4}[code], len(values)) + field
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", place + len(arrays))
    directory = struct.pack(order + "H", len(tags)) + entries + bytes(4)
    path.write_bytes(start + body + arrays + directory)


def image(channels: int, dtype: type) -> np.ndarray:
    top = np.iinfo(dtype).max
    return np.random.default_rng(0).integers(0, top, (5, 4, channels), dtype, endpoint=True)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"planar": True},
        {"deflate": True},
        {"deflate": True, "predictor": True},
        {"planar": True, "deflate": True, "predictor": True, "rows": 5},
    ],
)
def test_every_layout_gives_the_pixels(
    tmp_path: Path, order: str, dtype: type, layout: dict[str, bool]
) -> None:
    pixels = image(5, dtype)
    path = tmp_path / "a.tif"
    write_tiff(path, pixels, order=order, **layout)
    expected = pixels if dtype is np.uint8 else pixels >> 8
    np.testing.assert_array_equal(decode.read(str(path), channels=5, max_pixels=100), expected)


def test_its_header_is_known_and_its_limit_holds(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write_tiff(path, image(6, np.uint16))
    assert decode.read_header(str(path), max_pixels=20) == decode.Header(4, 5, "6x16", "TIFF")
    with pytest.raises(Unreadable, match=r"20 pixels, more than --data.max-pixels 19"):
        decode.read(str(path), channels=6, max_pixels=19)
    with pytest.raises(Unreadable, match="has 6 channels"):
        decode.read(str(path), channels=3, max_pixels=20)


@pytest.mark.parametrize(
    ("extra", "what"),
    [
        ({322: 16}, "is tiled"),
        ({259: 5}, "is compressed"),
        ({339: 3}, "signed or floating"),
        ({317: 3}, "unknown predictor"),
    ],
)
def test_layouts_it_does_not_know_are_named(
    tmp_path: Path, extra: dict[int, int], what: str
) -> None:
    path = tmp_path / "a.tif"
    write_tiff(path, image(5, np.uint8), extra=extra)
    with pytest.raises(Unreadable, match=what):
        decode.read(str(path), channels=5, max_pixels=100)


@pytest.mark.parametrize("deflate", [False, True])
def test_a_short_strip_is_refused(tmp_path: Path, deflate: bool) -> None:
    path = tmp_path / "a.tif"
    write_tiff(path, image(5, np.uint8)[:4], rows=4, deflate=deflate, extra={257: 5, 278: 5})
    with pytest.raises(Unreadable, match="truncated"):
        decode.read(str(path), channels=5, max_pixels=100)
