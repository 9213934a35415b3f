"""TIFF of instruments: made by hand, so that the reader is not its own judge, or by tifffile."""

import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from manyviews.core.extras import install
from manyviews.data.streams import image as decode
from manyviews.data.streams.image import Unreadable


def write_tiff(
    path: Path,
    image: np.ndarray,
    *,
    order: str = "<",
    rows: int = 2,
    planar: bool = False,
    deflate: bool = False,
    predictor: bool = False,
    extra: dict[int, int | list[int]] | None = None,
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
        tags[tag] = ("H", value if isinstance(value, list) else [value])
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
        ({339: 3}, "16-bit floating-point pixels have no known range"),
        ({339: 2}, "16-bit signed pixels have no known range; save as 8 or 16 bits"),
        ({258: [8, 16, 8, 16, 8]}, "a TIFF of 5 channels of unlike depth"),
        ({317: 3}, "predictor 3"),
        ({322: 0, 323: 16}, r"broken file \(ZeroDivisionError: division by zero\)"),
        ({279: [1]}, r"broken file \(3 strips with 1 sizes\)"),
        ({262: 32803}, "photometric interpretation 32803; save it as grey or RGB"),
        ({322: 60_000, 323: 60_000}, "tiles of 60000 x 60000 pixels"),
    ],
)
def test_what_nothing_reads_is_named_as_what_it_is(
    tmp_path: Path, extra: dict[int, int | list[int]], what: str
) -> None:
    path = tmp_path / "a.tif"
    write_tiff(path, image(5, np.uint16), extra=extra)
    with pytest.raises(Unreadable, match=what):
        decode.read(str(path), channels=5, max_pixels=100)


@pytest.mark.parametrize("deflate", [False, True])
def test_a_short_strip_is_refused(tmp_path: Path, deflate: bool) -> None:
    path = tmp_path / "a.tif"
    write_tiff(path, image(5, np.uint8)[:4], rows=4, deflate=deflate, extra={257: 5, 278: 5})
    with pytest.raises(Unreadable, match=r"truncated|corrupted strip"):
        decode.read(str(path), channels=5, max_pixels=100)


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd"])
def test_a_file_that_ends_early_is_refused(tmp_path: Path, compression: str | None) -> None:
    whole = tmp_path / "whole.tif"
    noise = np.random.default_rng(0).integers(0, 65535, (64, 64, 5), np.uint16)
    tifffile.imwrite(
        whole, noise, photometric="minisblack", planarconfig="contig", compression=compression
    )
    np.testing.assert_array_equal(read(whole, 5), noise >> 8)
    data = whole.read_bytes()
    for share in (0.01, 0.5, 0.97):
        (tmp_path / "cut.tif").write_bytes(data[: int(share * len(data))])
        with pytest.raises(Unreadable):
            read(tmp_path / "cut.tif", 5)


def test_a_strip_that_was_never_written_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write_tiff(path, image(5, np.uint8), extra={257: 5})
    write_tiff(path, image(5, np.uint8), rows=5, extra={279: 0})
    with pytest.raises(Unreadable, match="truncated"):
        read(path, 5)


def test_a_strip_that_unpacks_to_more_than_it_should_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    bomb = np.zeros((3000, 1000, 6), np.uint16)
    write_tiff(path, bomb, rows=3000, deflate=True, extra={257: 2, 278: 2})
    with pytest.raises(Unreadable, match="INSUFFICIENT_SPACE"):
        read(path, 6)


def test_a_last_strip_that_is_padded_to_the_height_of_others_is_read(tmp_path: Path) -> None:
    path, pixels = tmp_path / "a.tif", np.concatenate([image(5, np.uint16)] * 2)[:8]
    write_tiff(path, pixels, rows=4, extra={257: 5})
    np.testing.assert_array_equal(read(path, 5), pixels[:5] >> 8)


# --- what Pillow knows by half ---------------------------------------------------------------


def read(path: Path, channels: int = 3) -> np.ndarray:
    return decode.read(str(path), channels=channels, max_pixels=10**8)


def test_planar_colour_of_sixteen_bits_is_what_was_stored(tmp_path: Path) -> None:
    pixels = image(3, np.uint16)
    for order in "<>":
        write_tiff(tmp_path / "a.tif", pixels, order=order, planar=True, extra={262: 2})
        np.testing.assert_array_equal(read(tmp_path / "a.tif"), pixels >> 8)
    assert decode.read_header(str(tmp_path / "a.tif"), max_pixels=100).mode == "3x16"


@pytest.mark.parametrize("deflate", [False, True])
def test_white_is_zero_is_turned_round_whatever_its_depth(tmp_path: Path, deflate: bool) -> None:
    for dtype, most in ((np.uint8, 255), (np.uint16, 65535)):
        pixels = image(1, dtype)
        write_tiff(tmp_path / "a.tif", most - pixels, deflate=deflate, extra={262: 0})
        expected = pixels if dtype is np.uint8 else pixels >> 8
        np.testing.assert_array_equal(read(tmp_path / "a.tif", 1), expected)


def test_four_bands_are_four_channels(tmp_path: Path) -> None:
    for dtype in (np.uint8, np.uint16):
        pixels = image(4, dtype)
        tifffile.imwrite(
            tmp_path / "a.tif", pixels, photometric="minisblack", planarconfig="contig"
        )
        expected = pixels if dtype is np.uint8 else pixels >> 8
        np.testing.assert_array_equal(read(tmp_path / "a.tif", 4), expected)
        with pytest.raises(Unreadable, match=r"has 4 channels; --data\.channels wants 3"):
            read(tmp_path / "a.tif")


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd", "packbits"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("big", [False, True])
def test_any_layout_gives_the_pixels_that_were_written(
    tmp_path: Path, planar: str, tile: Any, compression: str | None, channels: int, big: bool
) -> None:
    for dtype in (np.uint8, np.uint16):
        shape = (20, 37, channels)
        pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype)
        for photometric in ["minisblack"] + ["rgb"] * (channels in (3, 4)):
            stored = np.moveaxis(pixels, -1, 0) if planar == "separate" else pixels
            tifffile.imwrite(
                tmp_path / "a.tif",
                stored if channels > 1 else pixels[..., 0],
                photometric=photometric,
                planarconfig=planar if channels > 1 else None,
                extrasamples=["unspecified"] if (photometric, channels) == ("rgb", 4) else None,
                tile=tile,
                compression=compression,
                bigtiff=big,
            )
            expected = pixels if dtype is np.uint8 else pixels >> 8
            np.testing.assert_array_equal(read(tmp_path / "a.tif", channels), expected)


@pytest.mark.parametrize(("extra", "alpha"), [("unassalpha", 2), ("assocalpha", 1)])
def test_alpha_of_sixteen_bits_lies_on_white(tmp_path: Path, extra: str, alpha: int) -> None:
    colours = np.array([[(60_000, 0, 0, 65535), (0, 0, 0, 0), (0, 0, 0, 32768)]], np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif", np.moveaxis(colours, -1, 0), photometric="rgb",
        planarconfig="separate", extrasamples=[extra],
    )  # fmt: skip
    expected = [[(234, 0, 0), (255, 255, 255), (127, 127, 127)]]
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), expected)
    assert alpha in (1, 2)
    np.testing.assert_array_equal(read(tmp_path / "a.tif", 4), colours >> 8)


def test_twelve_bits_are_scaled_by_their_own_depth(tmp_path: Path) -> None:
    """Packed, two samples in three bytes: 0xFFF, 0x800, 0x00F, 0x010."""
    path = tmp_path / "a.tif"
    write_tiff(path, np.frombuffer(bytes.fromhex("fff80000f010"), np.uint8).reshape(1, 6, 1),
               extra={256: 4, 258: 12})  # fmt: skip
    np.testing.assert_array_equal(read(path, 1)[0, :, 0], [255, 128, 0, 1])


def test_an_orientation_is_undone(tmp_path: Path) -> None:
    pixels = image(5, np.uint8)
    write_tiff(tmp_path / "a.tif", pixels, extra={274: 6})
    np.testing.assert_array_equal(read(tmp_path / "a.tif", 5), np.rot90(pixels, -1))


def test_a_stack_is_its_first_page_and_its_header_counts_them(tmp_path: Path) -> None:
    for channels, mode in ((3, "RGB"), (5, "5x8")):
        pages = np.random.default_rng(0).integers(0, 255, (4, 20, 20, channels), np.uint8)
        with tifffile.TiffWriter(tmp_path / "a.tif") as out:
            for page in pages:
                kind = "rgb" if channels == 3 else "minisblack"
                out.write(page, photometric=kind, planarconfig="contig", contiguous=False)
            out.write(pages[0, ::2, ::2], photometric=kind, planarconfig="contig", subfiletype=1)
        np.testing.assert_array_equal(read(tmp_path / "a.tif", channels), pages[0])
        header = decode.read_header(str(tmp_path / "a.tif"), max_pixels=400)
        assert header == decode.Header(20, 20, mode, "TIFF", pages=4)


def test_a_chain_of_pages_that_bites_its_tail_is_counted_once(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write_tiff(path, image(5, np.uint8))
    data = path.read_bytes()
    path.write_bytes(data[:-4] + data[4:8])
    assert decode.read_header(str(path), max_pixels=100).pages == 1


@pytest.mark.parametrize("missing", ["tifffile", "imagecodecs"])
def test_without_the_extra_the_reason_says_how_to_get_it(
    tmp_path: Path, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, image(5, np.uint16), photometric="minisblack", planarconfig="contig",
        compression="lzw",
    )  # fmt: skip
    reason = f"a TIFF of 5 channels of 16 bits that Pillow cannot read; {install('instruments')}"
    if missing == "imagecodecs":

        def fail(self: Any, **options: Any) -> None:
            raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

        monkeypatch.setattr(tifffile.TiffPage, "asarray", fail)
    else:
        monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(Unreadable) as caught:
        read(path, 5)
    assert caught.value.reason == reason
    Image.fromarray(np.full((2, 3, 3), 7, np.uint8)).save(path)  # an ordinary one needs nothing
    assert read(path).max() == 7
