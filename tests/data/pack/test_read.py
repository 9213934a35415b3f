"""What becomes of a pack whose bytes have changed, and how its arrays are used."""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from pictures import folder_of, picture
from PIL import Image

from manyviews.core import UsageError
from manyviews.core.sample import Layout, Unreadable
from manyviews.data.loader import batches
from manyviews.data.pack import layout
from manyviews.data.pack import make as packing
from manyviews.data.pack import read as packs
from manyviews.data.pack import write as shards
from manyviews.data.quarantine import Bad
from manyviews.data.sources import ImageSource, open_source
from manyviews.evaluation.labelled import open_labelled


def packed(root: Path, count: int = 12, **options: object) -> Path:
    data = folder_of(root / "data", count)
    packing.pack(str(data), root / "out", **({"workers": 0, "format": "uint8"} | options))  # type: ignore[arg-type]
    return root / "out"


def open_it(path: Path, **options: int) -> ImageSource:
    return open_source(str(path), **({"channels": 3, "max_pixels": 10**6} | options))


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


class Corner:
    """A pipeline of one view, the first pixel."""

    makes: Mapping[str, Layout] = {"global": Layout(1, (1, 1, 3), np.dtype(np.uint8))}

    def read(self, source, index, epoch):
        return source.open(index)["image"].read()

    def stacked(self, source):
        return source.stack.get("image")

    def make(self, items, index, epoch, into):
        into["global"][:] = np.stack([image[:1, :1, :] for image in items])[:, None]
        return {}


@pytest.mark.parametrize("form", ["jpeg", "uint8"])
def test_a_flipped_byte_costs_one_image(tmp_path, form):
    out = packed(tmp_path, format=form)
    intact = open_it(out)
    images = [intact.read(i) for i in range(12)]
    at = int(intact._entries[5]["offset"]) + 40
    flip(out / "shard-00000.bin", at)
    broken = open_it(out)
    assert not broken.stack
    for i in range(12):
        if i != 5:
            np.testing.assert_array_equal(broken.read(i), images[i])
    with pytest.raises(Unreadable) as caught:
        broken.read(5)
    assert caught.value.path == str(tmp_path / "data" / "0005.png")
    assert caught.value.reason == f"changed in shard-00000.bin at byte {at - 40:,}"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_truncated_shard_is_quarantined_and_training_goes_on(tmp_path, workers):
    out = packed(tmp_path)
    shard = out / "shard-00000.bin"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-100])
    met: list[Bad] = []
    steps = list(
        batches(
            open_it(out),
            Corner(),
            seed=0,
            global_batch=4,
            start_step=0,
            stop_step=3,
            workers=workers,
            max_bad=0.1,
            on_bad=met.append,
        )
    )
    assert len(steps) == 3
    [bad] = met
    assert Path(bad.path).name == "0011.png"
    assert "cut short" in bad.reason
    shard.unlink()
    with pytest.raises(Unreadable, match="No such file"):
        open_it(out).read(0)


@pytest.mark.parametrize("file", ["index.bin", "names.bin", "pack.json"])
@pytest.mark.parametrize("how", ["flipped", "cut", "missing"])
def test_a_damaged_index_is_refused_in_one_line(tmp_path, file, how):
    out = packed(tmp_path)
    path = out / file
    if how == "flipped":
        flip(path, 3)
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()
    with pytest.raises(UsageError) as caught:
        open_it(out)
    assert str(path) in str(caught.value) or (file, how) == ("pack.json", "missing")
    assert "\n" not in str(caught.value)


def test_an_index_that_points_outside_is_refused_even_with_its_checksum(tmp_path):
    out = packed(tmp_path)
    entries = np.fromfile(out / "index.bin", layout.ENTRY)
    about = json.loads((out / "pack.json").read_text())
    for key, value in (("offset", 10**9), ("shard", 7), ("name_offset", 10**6), ("width", 0)):
        bent = entries.copy()
        bent[2][key] = value
        bent.tofile(out / "index.bin")
        digest = packs.hashlib.sha256(bent.tobytes()).hexdigest()
        (out / "pack.json").write_text(json.dumps(about | {"index_sha256": digest}))
        with pytest.raises(UsageError, match=r"index.bin is missing or damaged"):
            open_it(out)


def test_another_version_is_named(tmp_path):
    out = packed(tmp_path)
    about = json.loads((out / "pack.json").read_text())
    (out / "pack.json").write_text(json.dumps(about | {"version": 2}))
    with pytest.raises(UsageError, match=r"another version \(2\)"):
        open_it(out)


def test_small_pixels_of_one_size_are_one_mapped_array(tmp_path):
    array = open_it(packed(tmp_path)).stack["image"]
    assert isinstance(array, np.memmap)
    assert array.shape == (12, 16, 16, 3)
    np.testing.assert_array_equal(array, [picture(i) for i in range(12)])


def test_no_array_where_sizes_differ_or_images_are_large(tmp_path):
    data = folder_of(tmp_path / "sizes" / "data", 3)
    Image.fromarray(picture(3, side=17)).save(data / "0003.png")
    packing.pack(str(data), tmp_path / "sizes" / "out", workers=0, format="uint8")
    assert not open_it(tmp_path / "sizes" / "out").stack
    (tmp_path / "large").mkdir()
    for i in range(2):
        Image.fromarray(picture(i, side=97)).save(tmp_path / "large" / f"{i}.png")
    packing.pack(str(tmp_path / "large"), tmp_path / "large_out", workers=0, format="uint8")
    assert not open_it(tmp_path / "large_out").stack
    assert not open_it(packed(tmp_path / "grey", channels=1), channels=3).stack
    assert not open_it(packed(tmp_path / "jpeg", format="jpeg")).stack


def test_a_part_of_a_pack_is_read_in_its_own_order(tmp_path):
    out = packed(tmp_path)
    part = packs.Packed("x", out, channels=3, max_pixels=10**6, only=["0007.png", "0002.png"])
    for source in (part, pickle.loads(pickle.dumps(part))):  # noqa: S301, RUF100
        assert len(source) == 2
        np.testing.assert_array_equal(source.read(0), picture(7))
        np.testing.assert_array_equal(source.read(1), picture(2))
        assert Path(source.name(0)).name == "0007.png"
        assert not source.stack
    assert part.digest != open_it(out).digest


def test_class_folders_keep_their_labels_and_splits_in_a_pack(tmp_path):
    for i in range(20):
        path = tmp_path / "data" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(i)).save(path)
    packing.pack(str(tmp_path / "data"), tmp_path / "out", workers=0, format="uint8")
    for split in ("train", "test"):
        found = [
            open_labelled(str(tmp_path / name), channels=3, max_pixels=10**6, split=split)
            for name in ("data", "out")
        ]
        files, pack = found
        assert len(files) == len(pack) == {"train": 16, "test": 4}[split]
        assert (files.labels == pack.labels).all()
        assert (files.classes, files.split) == (pack.classes, pack.split)
        for i in range(len(files)):
            assert files.source.name(i) == pack.source.name(i)
            np.testing.assert_array_equal(files.source.read(i), pack.source.read(i))


def test_larger_images_than_allowed_are_unreadable(tmp_path):
    source = open_it(packed(tmp_path), max_pixels=100)
    with pytest.raises(Unreadable, match=r"more than --data.max-pixels 100"):
        source.read(0)
    assert not source.stack


def test_a_pickled_source_opens_the_pack_again(tmp_path):
    source = open_it(packed(tmp_path))
    assert list(source.stack) == ["image"]
    sent = pickle.dumps(source)
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent).read(4), picture(4))  # noqa: S301, RUF100


def test_many_shards_share_a_few_open_files(tmp_path, monkeypatch):

    monkeypatch.setattr(shards, "_SHARD", 1)
    monkeypatch.setattr(packs, "_OPEN", 2)
    source = open_it(packed(tmp_path))
    for i in (0, 5, 11, 0, 3):
        np.testing.assert_array_equal(source.read(i), picture(i))
        assert len(source._files) <= 2
