"""Every kind of file is read right, or refused with its reason."""

import io
import resource
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, features
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from manyviews.core.sample import Unreadable
from manyviews.data.streams import image

ROOMY = 10**8
AVIF = pytest.param(
    "avif", marks=pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
)
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def read(path: Path, channels: int = 3, max_pixels: int = ROOMY) -> np.ndarray:
    pixels = image.read(str(path), channels=channels, max_pixels=max_pixels)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    return pixels


def refused(path: Path, channels: int = 3, max_pixels: int = ROOMY) -> str:
    with pytest.raises(Unreadable) as caught:
        image.read(str(path), channels=channels, max_pixels=max_pixels)
    assert caught.value.path == str(path)
    assert "\n" not in caught.value.reason
    return caught.value.reason


def smooth(height: int = 24, width: int = 32) -> np.ndarray:
    """Three gradients that differ in every channel and direction; JPEG hardly changes them."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([255 * x / width, 255 * y / height, 128 + 0 * x], -1).astype(np.uint8)


@pytest.mark.parametrize(
    "suffix", ["png", "bmp", "tiff", "webp", "jp2", "ppm", "qoi", "tga", "pcx", "sgi"]
)
def test_lossless_formats_give_exactly_what_was_saved(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(smooth()).save(path, **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(read(path), smooth())


def test_jpeg_gives_the_pixels_that_pillow_gives(tmp_path: Path) -> None:
    for name, options in {"a": {}, "b": {"progressive": True}, "c": {"subsampling": 0}}.items():
        path = tmp_path / f"{name}.jpg"
        Image.fromarray(smooth(37, 51)).save(path, quality=90, **options)
        with Image.open(path) as image:
            expected = np.asarray(image.convert("RGB"))
        np.testing.assert_array_equal(read(path), expected)
        assert np.abs(expected.astype(int) - smooth(37, 51)).mean() < 4


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "webp", "gif"])
def test_grey_is_repeated_to_three_channels_and_kept_as_one(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.full((8, 9), 77, np.uint8)).save(
        path, **({"lossless": True} if suffix == "webp" else {})
    )
    np.testing.assert_array_equal(read(path), np.full((8, 9, 3), 77))
    np.testing.assert_array_equal(read(path, 1), np.full((8, 9, 1), 77))


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_colour_is_weighed_to_one_channel_by_luma(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.new("RGB", (8, 8), (200, 100, 50)).save(path, quality=100, subsampling=0)
    luma = 0.299 * 200 + 0.587 * 100 + 0.114 * 50
    assert np.abs(read(path, 1).astype(float) - luma).max() <= 2
    assert read(path, 1).shape == (8, 8, 1)


def test_transparency_is_composited_on_white(tmp_path: Path) -> None:
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0] = [(255, 0, 0, 255), (255, 0, 0, 0), (0, 0, 0, 128)]
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    expected = [[RED, WHITE, (127, 127, 127)]]
    np.testing.assert_array_equal(read(tmp_path / "rgba.png"), expected)
    Image.fromarray(rgba).save(tmp_path / "rgba.webp", lossless=True, exact=True)
    np.testing.assert_array_equal(read(tmp_path / "rgba.webp"), expected)
    Image.fromarray(rgba).save(tmp_path / "rgba.tiff")
    np.testing.assert_array_equal(read(tmp_path / "rgba.tiff"), expected)

    grey = np.array([[(40, 255), (40, 0), (0, 128)]], np.uint8)
    Image.fromarray(grey, "LA").save(tmp_path / "la.png")
    np.testing.assert_array_equal(read(tmp_path / "la.png", 1)[0, :, 0], [40, 255, 127])
    np.testing.assert_array_equal(read(tmp_path / "la.png")[0, :, 2], [40, 255, 127])


def test_one_transparent_colour_becomes_white(tmp_path: Path) -> None:
    Image.fromarray(np.array([[RED, GREEN]], np.uint8)).save(tmp_path / "a.png", transparency=RED)
    np.testing.assert_array_equal(read(tmp_path / "a.png"), [[WHITE, GREEN]])
    Image.fromarray(np.array([[10, 20]], np.uint8)).save(tmp_path / "b.png", transparency=20)
    np.testing.assert_array_equal(read(tmp_path / "b.png", 1)[0, :, 0], [10, 255])


def test_palettes_are_looked_up_with_their_transparency(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    image.putpalette([*RED, *GREEN, *BLUE])
    image.save(tmp_path / "opaque.png")
    np.testing.assert_array_equal(read(tmp_path / "opaque.png"), [[RED, GREEN, BLUE]])
    image.save(tmp_path / "clear.png", transparency=bytes([255, 0, 255]))
    np.testing.assert_array_equal(read(tmp_path / "clear.png"), [[RED, WHITE, BLUE]])
    image.save(tmp_path / "clear.gif", transparency=2)
    np.testing.assert_array_equal(read(tmp_path / "clear.gif"), [[RED, GREEN, WHITE]])


def test_a_bilevel_image_is_black_and_white(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png", 1)[0, :, 0], [255, 0])


def test_cmyk_reads_as_the_colours_it_prints(tmp_path: Path) -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # magenta and yellow ink: red
    image.save(tmp_path / "a.jpg", quality=100)
    image.save(tmp_path / "a.tiff")
    assert np.abs(read(tmp_path / "a.jpg").astype(int) - RED).max() <= 6
    np.testing.assert_array_equal(read(tmp_path / "a.tiff"), np.broadcast_to(RED, (16, 16, 3)))


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(read(tmp_path / f"a.{suffix}", 1)[0, :, 0], [0, 0, 1, 128, 255])
    np.testing.assert_array_equal(read(tmp_path / f"a.{suffix}")[0, :, 1], [0, 0, 1, 128, 255])


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def test_sixteen_bit_colour_is_scaled(tmp_path: Path) -> None:
    rows = b"\0" + struct.pack(">6H", 0, 256, 65535, 32768, 255, 511)
    (tmp_path / "a.png").write_bytes(png(2, 1, 16, 2, rows))
    np.testing.assert_array_equal(read(tmp_path / "a.png"), [[(0, 1, 255), (128, 0, 1)]])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff", "webp"])
def test_every_exif_orientation_is_undone(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {"quality": 100}
    if suffix == "tiff":
        tags = ImageFileDirectory_v2()
        tags[0x0112] = orientation
        options = {"tiffinfo": tags}
    Image.fromarray(smooth(16, 24)).save(
        path, **(options if suffix == "tiff" else options | {"exif": exif})
    )
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(read(path), expected)
    assert expected.shape == ((24, 16, 3) if orientation > 4 else (16, 24, 3))


def test_orientation_six_turns_the_camera_upright(tmp_path: Path) -> None:
    """Independent of Pillow: 6 means that the stored left column is the picture's top row."""
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stored).save(tmp_path / "a.jpg", quality=100, exif=exif)
    upright = read(tmp_path / "a.jpg")
    assert upright.shape == (32, 16, 3)
    assert upright[:8].min() > 200
    assert upright[8:].max() < 50


def test_the_first_frame_stands_for_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, GREEN, BLUE)]
    for suffix in ("gif", "webp", "tiff"):
        path = tmp_path / f"a.{suffix}"
        options = {"lossless": True} if suffix == "webp" else {}
        frames[0].save(path, save_all=True, append_images=frames[1:], **options)
        np.testing.assert_array_equal(read(path), np.broadcast_to(RED, (4, 4, 3)))


def test_other_channel_counts_must_match_the_file(tmp_path: Path) -> None:
    rgba = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png", 4), rgba)
    assert refused(tmp_path / "a.png", 5) == "has 4 channels; --data.channels wants 5"
    Image.fromarray(smooth()).save(tmp_path / "b.jpg")
    assert refused(tmp_path / "b.jpg", 2) == "has 3 channels; --data.channels wants 2"


def test_arrays_are_read_and_scaled(tmp_path: Path) -> None:
    wide = np.arange(2 * 3 * 7, dtype=np.uint16).reshape(2, 3, 7) * 256
    np.save(tmp_path / "a.npy", wide)
    np.testing.assert_array_equal(read(tmp_path / "a.npy", 7), wide // 256)
    np.save(tmp_path / "b.npy", np.full((2, 3), 9, np.uint8))
    np.testing.assert_array_equal(read(tmp_path / "b.npy"), np.full((2, 3, 3), 9))
    assert image.read_header(str(tmp_path / "a.npy"), max_pixels=ROOMY).mode == "7x16"
    np.save(tmp_path / "c.npy", np.zeros((2, 3), np.float32))
    assert "float32 2x3; wanted uint8 or uint16" in refused(tmp_path / "c.npy")
    np.save(tmp_path / "d.npy", np.array([object()]), allow_pickle=True)
    assert "Python objects" in refused(tmp_path / "d.npy")
    assert "pixels, more than" in refused(tmp_path / "b.npy", max_pixels=5)


def test_avif_is_read(tmp_path: Path) -> None:
    if not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    Image.fromarray(smooth()).save(tmp_path / "a.avif", quality=95)
    assert np.abs(read(tmp_path / "a.avif").astype(int) - smooth()).mean() < 4


def test_portable_maps_of_every_kind_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P5 3 1 65535 \x00\xff\x80\x00\xff\xff")
    np.testing.assert_array_equal(read(tmp_path / "a.pgm", 1)[0, :, 0], [0, 128, 255])
    (tmp_path / "b.pnm").write_bytes(b"P2 2 1 100 0 100")
    np.testing.assert_array_equal(read(tmp_path / "b.pnm", 1)[0, :, 0], [0, 255])
    (tmp_path / "c.pbm").write_bytes(b"P1 2 1 1 0")
    np.testing.assert_array_equal(read(tmp_path / "c.pbm", 1)[0, :, 0], [0, 255])


def test_every_ending_that_counts_as_an_image_has_a_format_that_is_opened() -> None:
    Image.init()
    known = {ending for ending, name in Image.EXTENSION.items() if name in image.formats(ending)}
    known |= {".avif", ".mpo"}  # not in every Pillow; by the reader of JPEG
    assert known.issuperset(image.SUFFIXES)


def test_a_format_without_a_signature_is_opened_by_its_name_alone(tmp_path: Path) -> None:
    Image.fromarray(smooth()).save(tmp_path / "a.tga")
    np.testing.assert_array_equal(read(tmp_path / "a.tga"), smooth())
    (tmp_path / "a.tga").rename(tmp_path / "a.jpg")
    assert "known format" in refused(tmp_path / "a.jpg")


def with_chunk(data: bytes, kind: bytes, body: bytes) -> bytes:
    at = data.index(b"IDAT") - 4
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return data[:at] + chunk + data[at:]


@pytest.mark.parametrize("kind", ["zTXt", "iTXt", "iCCP", "tEXt"])
@pytest.mark.parametrize("fault", ["long", "endless", "broken", "checksum"])
def test_text_beside_the_pixels_never_costs_them(tmp_path: Path, kind: str, fault: str) -> None:
    packed = zlib.compress(b"a" * {"long": 3_000_000, "endless": 100_000_000}.get(fault, 10))
    packed = b"no zlib" if fault == "broken" else packed
    body = {"zTXt": b"k\0\0", "iTXt": b"k\0\1\0\0\0", "iCCP": b"k\0\0", "tEXt": b"k\0"}[kind]
    file = io.BytesIO()
    Image.fromarray(smooth()).save(file, "PNG", exif=turned(6))
    data = with_chunk(file.getvalue(), kind.encode(), body + packed)
    if fault == "checksum":
        at = data.index(kind.encode()) + 4
        data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    (tmp_path / "a.png").write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    np.testing.assert_array_equal(read(tmp_path / "a.png"), np.rot90(smooth(), -1))
    assert image.read_header(str(tmp_path / "a.png"), max_pixels=ROOMY).width == 32
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # kilobytes


def test_a_broken_png_with_text_is_still_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(
        file, "PNG"
    )
    data = with_chunk(file.getvalue(), b"zTXt", b"k\0\0" + zlib.compress(b"a" * 3_000_000))
    (tmp_path / "a.png").write_bytes(data[: len(data) // 2])
    assert refused(tmp_path / "a.png")


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("suffix", ["png", "webp", "jpg"])
@pytest.mark.parametrize(
    "block", [b"garbage text not exif", b"Exif\0\0II*\0\xff\xff\xff\xff", b"\0"]
)
def test_a_broken_exif_block_never_costs_the_pixels(
    tmp_path: Path, suffix: str, block: bytes
) -> None:
    path = tmp_path / f"a.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(smooth()).save(path, **options)
    expected = read(path)
    Image.fromarray(smooth()).save(path, **options, exif=block)
    np.testing.assert_array_equal(read(path), expected)


def test_the_header_of_an_animation_counts_its_frames(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, GREEN, BLUE)]
    for suffix in ("gif", "webp", "png", "tiff"):
        path = tmp_path / f"a.{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:])
        assert image.read_header(str(path), max_pixels=ROOMY).pages == 3
    frames[0].save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=frames[1:])
    assert image.read_header(str(tmp_path / "a.jpg"), max_pixels=ROOMY).pages == 1


# --- what cannot be read -------------------------------------------------------------------


@pytest.mark.parametrize(
    "suffix",
    ["jpg", "png", "webp", "bmp", "tiff", "gif", "jp2", "ppm", "qoi", "tga", "pcx", "sgi", AVIF],
)
@pytest.mark.parametrize("share", [0.03, 0.5, 0.9])
def test_a_truncated_file_is_refused_not_half_read(
    tmp_path: Path, suffix: str, share: float
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    whole = tmp_path / f"whole.{suffix}"
    Image.fromarray(noise).save(whole)
    assert read(whole).shape == (64, 64, 3)
    data = whole.read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(data[: int(share * len(data))])
    assert refused(cut)


def test_a_jpeg_without_its_last_bytes_is_refused(tmp_path: Path) -> None:
    data = io.BytesIO()
    Image.fromarray(smooth(64, 64)).save(data, "JPEG")
    (tmp_path / "a.jpg").write_bytes(data.getvalue()[:-30])
    assert refused(tmp_path / "a.jpg") == "broken JPEG: Image is incomplete or truncated"


def test_reasons_are_short_and_the_same_every_time(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").write_bytes(b"")
    assert refused(tmp_path / "empty.jpg") == "empty file"
    (tmp_path / "text.jpg").write_text("hello, world")
    assert refused(tmp_path / "text.jpg") == (
        "not an image of a known format, or its header is broken (begins with b'hello, w')"
    )
    assert refused(tmp_path / "none.jpg") == "No such file or directory"
    (tmp_path / "folder.png").mkdir()
    assert refused(tmp_path / "folder.png") == "Is a directory"
    Image.fromarray(np.zeros((2, 2), np.float32)).save(tmp_path / "float.tiff")
    assert refused(tmp_path / "float.tiff") == (
        "32-bit floating-point pixels have no known range; save as 8 or 16 bits"
    )


def test_other_formats_are_not_opened_whatever_they_are_called(tmp_path: Path) -> None:
    """Pillow would run Ghostscript on an EPS file."""
    Image.new("RGB", (4, 4)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.jpg")
    assert "known format" in refused(tmp_path / "a.jpg")


def test_a_decompression_bomb_is_refused_from_its_header(tmp_path: Path) -> None:
    """A 2.5 gigapixel PNG of a few hundred kilobytes."""
    path = tmp_path / "bomb.png"
    packer = zlib.compressobj(9)
    row = b"\0" + bytes(50_000 // 8)
    packed = b"".join(packer.compress(row) for _ in range(50_000)) + packer.flush()
    data = png(50_000, 50_000, 1, 0, b"")
    at = data.index(b"IDAT") - 4
    chunk = b"IDAT" + packed
    path.write_bytes(
        data[:at]
        + struct.pack(">I", len(packed))
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + data[-12:]
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reason = refused(path, max_pixels=200_000_000)
    assert reason == (
        "50000 x 50000 is 2,500,000,000 pixels, more than --data.max-pixels 200,000,000"
    )
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes
    with pytest.raises(Unreadable, match="pixels, more than"):
        image.read_header(str(path), max_pixels=200_000_000)


def test_the_limit_counts_pixels_exactly(tmp_path: Path) -> None:
    Image.fromarray(smooth(10, 20)).save(tmp_path / "a.jpg")
    assert read(tmp_path / "a.jpg", max_pixels=200).shape == (10, 20, 3)
    assert refused(tmp_path / "a.jpg", max_pixels=199).startswith("20 x 10 is 200 pixels")


def test_pillows_own_limit_neither_warns_nor_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(smooth(10, 20)).save(tmp_path / "a.png")
    for limit in (150, 10):  # the first would warn, the second raise
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert read(tmp_path / "a.png", max_pixels=200).shape == (10, 20, 3)
            assert "more than --data.max-pixels 199" in refused(tmp_path / "a.png", max_pixels=199)
        assert not caught
        assert limit == Image.MAX_IMAGE_PIXELS


def test_a_header_says_what_is_stored(tmp_path: Path) -> None:
    Image.fromarray(smooth(10, 20)).save(tmp_path / "a.jpg")
    Image.new("LA", (3, 4)).save(tmp_path / "b.png")
    assert image.read_header(str(tmp_path / "a.jpg"), max_pixels=ROOMY) == image.Header(
        20, 10, "RGB", "JPEG"
    )
    assert image.read_header(str(tmp_path / "b.png"), max_pixels=ROOMY) == image.Header(
        3, 4, "LA", "PNG"
    )
