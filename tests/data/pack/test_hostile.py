"""A pack that comes from anywhere: nothing is believed before it is checked, and checked once."""

import hashlib
import io
import json
import multiprocessing
import tracemalloc

import numpy as np
import pytest
from pictures import folder_of, picture
from PIL import Image

from manyviews.core import UsageError
from manyviews.core.sample import Unreadable
from manyviews.data.pack import codec, layout
from manyviews.data.pack import make as packing
from manyviews.data.pack import read as packs
from manyviews.data.sources import open_source


def packed(root, count=6, **options):
    data = folder_of(root / "data", count)
    packing.pack(str(data), root / "out", **({"workers": 0, "format": "uint8"} | options))
    return root / "out"


def open_it(path):
    return open_source(str(path), channels=3, max_pixels=10**6)


def forge(out, entries):
    """An index that says something else, with the checksum that belongs to it."""
    entries.tofile(out / "index.bin")
    about = json.loads((out / "pack.json").read_text())
    about["index_sha256"] = hashlib.sha256(entries.tobytes()).hexdigest()
    about["shards"] = [(out / "shard-00000.bin").stat().st_size]
    (out / "pack.json").write_text(json.dumps(about))


def test_a_jpeg_that_is_larger_than_the_index_says_is_refused_before_it_is_decoded(
    tmp_path, monkeypatch
):
    out = packed(tmp_path, format="jpeg")
    entries, file = np.fromfile(out / "index.bin", layout.ENTRY), io.BytesIO()
    Image.new("L", (3000, 3000)).save(file, "JPEG")
    bomb = file.getvalue()
    shard = (out / "shard-00000.bin").read_bytes()
    entries[2]["offset"], entries[2]["length"] = len(shard), len(bomb)
    entries[2]["sha256"] = np.frombuffer(hashlib.sha256(bomb).digest(), np.uint8)
    (out / "shard-00000.bin").write_bytes(shard + bomb)
    forge(out, entries)
    source = open_it(out)
    source.read(1)
    monkeypatch.setattr(codec, "decode_jpeg", lambda _: pytest.fail("decoded"))
    with pytest.raises(Unreadable, match=r"says that it is \(3000, 3000\), not \(16, 16\)"):
        source.read(2)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("extra", [b"", b"\xff\xe1\x00\x08\xff\xc0\x00\x11\x08\x00", b"\xff\xff"])
def test_the_size_that_a_jpeg_claims_is_that_of_its_frame_header(progressive, extra):
    """Not one in a segment that is passed over, as a preview in EXIF has."""
    file = io.BytesIO()
    Image.new("RGB", (33, 17)).save(file, "JPEG", progressive=progressive)
    data = file.getvalue()
    assert codec.jpeg_size(data[:2] + extra + data[2:]) == (17, 33)
    for bad in (b"", data[:2], data[:40], b"\xff\xd8" + b"\xff" * 50):
        with pytest.raises(ValueError, match="no frame header"):
            codec.jpeg_size(bad)


@pytest.mark.parametrize("form", ["uint8", "jpeg"])
def test_no_memory_is_taken_for_a_length_that_cannot_be(tmp_path, form):
    """A shard with a hole of 4 GB costs nothing to send."""
    out = packed(tmp_path, format=form)
    entries = np.fromfile(out / "index.bin", layout.ENTRY)
    with (out / "shard-00000.bin").open("r+b") as shard:
        shard.truncate(4 << 30)
    entries[2]["offset"], entries[2]["length"] = 0, 4 << 30
    forge(out, entries)
    source = open_it(out)
    tracemalloc.start()
    with pytest.raises(Unreadable, match=r"has 4,294,967,296 bytes for 768 values"):
        source.read(2)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("start", "length", "value"),
    [("offset", "length", 2**64 - 8), ("name_offset", "name_length", 2**64 - 2)],
)
def test_places_whose_sum_begins_anew_at_0_are_outside(tmp_path, start, length, value):
    out = packed(tmp_path)
    entries = np.fromfile(out / "index.bin", layout.ENTRY)
    assert int(entries[2][length]) >= 2
    entries[2][start] = value
    forge(out, entries)
    with pytest.raises(UsageError, match=r"index.bin is missing or damaged"):
        open_it(out)


@pytest.mark.parametrize("shards", [["x"], [-1], [None], 3, []])
def test_sizes_of_shards_are_numbers(tmp_path, shards):
    out = packed(tmp_path)
    about = json.loads((out / "pack.json").read_text())
    (out / "pack.json").write_text(json.dumps(about | {"shards": shards}))
    with pytest.raises(UsageError, match=r"pack.json is missing or damaged"):
        open_it(out)


def test_images_in_another_order_than_they_lie_in_are_not_taken_for_an_array(tmp_path):
    out = packed(tmp_path)
    entries = np.fromfile(out / "index.bin", layout.ENTRY)
    assert open_it(out).stack
    forge(out, entries[::-1].copy())
    source = open_it(out)
    assert not source.stack
    np.testing.assert_array_equal(source.read(0), picture(5))


def hashes(monkeypatch):
    """The lengths of what is hashed from now on."""
    seen, real = [], hashlib.sha256

    def counted(data=b""):
        seen.append(len(data))
        return real(data)

    monkeypatch.setattr(packs.hashlib, "sha256", counted)
    return seen


@pytest.mark.parametrize(("form", "times"), [("uint8", 1), ("jpeg", 3)])
def test_pixels_are_hashed_once_and_files_always(tmp_path, monkeypatch, form, times):
    source = open_it(packed(tmp_path, format=form))
    seen = hashes(monkeypatch)
    images = [source.read(4) for _ in range(3)]
    assert len(seen) == times
    assert all((image == images[0]).all() for image in images)


def test_what_one_process_has_checked_the_others_need_not(tmp_path, monkeypatch):
    source = open_it(packed(tmp_path))
    process = multiprocessing.get_context("fork").Process(target=source.read, args=(4,))
    process.start()
    process.join()
    assert process.exitcode == 0
    seen = hashes(monkeypatch)
    source.read(4)
    assert not seen
    source.read(5)
    assert len(seen) == 1


def test_a_shard_that_is_cut_after_its_images_were_checked_is_still_noticed(tmp_path):
    out = packed(tmp_path)
    source = open_it(out)
    source.read(5)
    with (out / "shard-00000.bin").open("r+b") as shard:
        shard.truncate(5 * 768 + 3)
    with pytest.raises(Unreadable, match="cut short"):
        source.read(5)
