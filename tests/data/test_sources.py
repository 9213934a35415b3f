"""A DATA argument becomes a manifest and images, or one line that says what to do."""

import gzip
import json
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from pictures import folder_of, picture
from PIL import Image

from manyviews.core import UsageError
from manyviews.core.sample import Unreadable
from manyviews.data.manifest import of_folder, of_list
from manyviews.data.sources import Files, ImageSource, open_source


def open_it(spec: object, channels: int = 3, **options: str) -> ImageSource:
    return open_source(str(spec), channels=channels, max_pixels=10**6, **options)  # type: ignore[arg-type]


def names(source: ImageSource, root: Path) -> list[str]:
    return [os.path.relpath(source.name(i), root) for i in range(len(source))]


def complaint(spec: object, channels: int = 3) -> str:
    with pytest.raises(UsageError) as caught:
        open_it(spec, channels)
    message = str(caught.value)
    assert "\n" not in message
    return message


# --- folders -------------------------------------------------------------------------------


def test_a_folder_is_searched_recursively_and_sorted(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/1.PNG", "a.jpeg", "b/c/x.tif", "B/é.webp", "b.bmp", "z.gif"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        Image.new("RGB", (2, 2)).save(path)
    source = open_it(tmp_path)
    assert names(source, tmp_path) == sorted(
        ["b/2.png", "b/1.PNG", "a.jpeg", "b/c/x.tif", "B/é.webp", "b.bmp", "z.gif"],
        key=os.fsencode,
    )
    assert not source.stack
    assert all(source.read(i).shape == (2, 2, 3) for i in range(len(source)))


def test_hidden_files_and_thumbnails_are_passed_over_and_others_counted(tmp_path: Path) -> None:
    folder_of(tmp_path, 2)
    for name in (".hidden.png", ".git/a.png", "__MACOSX/a.png", "@eaDir/a.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((tmp_path / "0000.png").read_bytes())
    for name in ("Thumbs.db", "notes.TXT", "more.txt", "README"):
        (tmp_path / name).write_text("x")
    manifest = of_folder(tmp_path)
    assert [file.path for file in manifest.files] == ["0000.png", "0001.png"]
    assert manifest.ignored == {".db": 1, ".txt": 2, "(none)": 1}


def test_a_hidden_or_relative_root_is_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_of(tmp_path / ".cache", 1)
    assert len(open_it(tmp_path / ".cache")) == 1
    monkeypatch.chdir(tmp_path / ".cache")
    source = open_it(".")
    assert [file.path for file in of_folder(Path()).files] == ["0000.png"]
    assert source.read(0).shape == (16, 16, 3)


def test_links_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    data, outside = folder_of(tmp_path / "data", 1), folder_of(tmp_path / "outside", 1)
    (data / "loop").symlink_to(data)
    (data / "self.png").symlink_to(data / "self.png")
    (data / "gone.png").symlink_to(data / "nothing.png")
    (data / "in").symlink_to(outside)
    (data / "again").symlink_to(outside)
    (outside / "back").symlink_to(data)
    source = open_it(data)
    assert names(source, data) == ["0000.png", "again/0000.png", "gone.png", "self.png"]
    for index, reason in ((2, "No such file"), (3, "symbolic links")):
        with pytest.raises(Unreadable, match=reason):
            source.read(index)


def test_odd_names_are_read(tmp_path: Path) -> None:
    for name in (b"new\nline.png", b"caf\xc3\xa9.png", b"latin\xe9.png", b" space .png"):
        path = tmp_path / os.fsdecode(name)
        Image.new("RGB", (2, 2), (1, 2, 3)).save(path)
    source = open_it(tmp_path)
    assert len(source) == 4
    assert all(source.read(i)[0, 0, 2] == 3 for i in range(4))
    assert len(source.digest) == 64


def test_a_pipe_with_an_images_name_is_not_opened(tmp_path: Path) -> None:
    folder_of(tmp_path, 1)
    os.mkfifo(tmp_path / "pipe.png")
    assert names(open_it(tmp_path), tmp_path) == ["0000.png"]


def test_the_digest_changes_with_any_file_and_with_nothing_else(tmp_path: Path) -> None:
    folder_of(tmp_path, 3)
    first = open_it(tmp_path).digest
    assert open_it(tmp_path).digest == first
    (tmp_path / "notes.txt").write_text("x")
    assert open_it(tmp_path).digest == first
    path = tmp_path / "0001.png"
    stamp = path.stat().st_mtime_ns

    os.utime(path, ns=(stamp, stamp + 1))
    touched = open_it(tmp_path).digest
    path.write_bytes(path.read_bytes() + b"x")
    os.utime(path, ns=(stamp, stamp))
    grown = open_it(tmp_path).digest
    path.rename(tmp_path / "0009.png")
    renamed = open_it(tmp_path).digest
    (tmp_path / "0000.png").unlink()
    assert len({first, touched, grown, renamed, open_it(tmp_path).digest}) == 5


def test_a_manifest_is_saved_a_file_a_line(tmp_path: Path) -> None:
    manifest = of_folder(folder_of(tmp_path / "data", 2))
    manifest.write(tmp_path / "manifest.jsonl")
    lines = (tmp_path / "manifest.jsonl").read_text().splitlines()
    info = (tmp_path / "data" / "0001.png").stat()
    assert json.loads(lines[1]) == {
        "path": "0001.png",
        "size": info.st_size,
        "mtime_ns": info.st_mtime_ns,
    }
    assert len(lines) == 2


def test_arrays_count_as_images_only_for_unusual_channels(tmp_path: Path) -> None:
    folder_of(tmp_path, 1)
    np.save(tmp_path / "a.npy", np.zeros((4, 5, 7), np.uint8))
    assert len(open_it(tmp_path, 3)) == 1
    assert len(open_it(tmp_path, 7)) == 2
    (tmp_path / "arrays").mkdir()
    (tmp_path / "a.npy").rename(tmp_path / "arrays" / "a.npy")
    with pytest.raises(UsageError, match=r"\(\.npy\) want --data\.channels other than 1 and 3"):
        open_it(tmp_path / "arrays", 3)


# --- lists ---------------------------------------------------------------------------------


def test_a_list_keeps_its_order_and_skips_comments(tmp_path: Path) -> None:
    folder_of(tmp_path / "data", 3)
    absolute = tmp_path / "data" / "0000.png"
    path = tmp_path / "list.txt"
    path.write_text(
        f"\ufeff# all of it\n\n data/0002.png \r\n{absolute}\n  # no\ndata/gone.png\ndata/0002.png",
        encoding="utf-8",
    )
    source = open_it(path)
    assert names(source, tmp_path) == [
        "data/0002.png",
        "data/0000.png",
        "data/gone.png",
        "data/0002.png",
    ]
    np.testing.assert_array_equal(source.read(0), picture(2))
    with pytest.raises(Unreadable, match="No such file or directory"):
        source.read(2)
    before = source.digest
    folder_of(tmp_path / "data", 4)
    (tmp_path / "data" / "0003.png").rename(tmp_path / "data" / "gone.png")
    assert of_list(path).digest != before


def test_a_listed_file_is_an_image_whatever_it_is_called(tmp_path: Path) -> None:
    folder_of(tmp_path, 1)
    (tmp_path / "0000.png").rename(tmp_path / "scan")
    (tmp_path / "list").write_text("scan\n")
    np.testing.assert_array_equal(open_it(tmp_path / "list").read(0), picture(0))


# --- the built-in images and IDX -----------------------------------------------------------


def test_the_built_in_images_are_all_there() -> None:
    train, test = open_it("builtin:fashion", 1), open_it("builtin:fashion", 3, split="test")
    assert list(train.stack) == list(test.stack) == ["image"]
    assert train.stack["image"].shape == (12_000, 28, 28, 1)
    assert test.stack["image"].shape == (2_000, 28, 28, 3)
    assert round(float(train.stack["image"].mean()), 2) == 72.97
    assert (train.name(12), test.name(7)) == ("builtin:fashion#12", "builtin:fashion#test/7")
    assert train.digest != test.digest
    assert train.header(0).width == 28
    assert train.raw(0) is None
    np.testing.assert_array_equal(test.read(5)[..., 0], test.read(5)[..., 2])


def test_the_built_in_images_are_the_first_of_fashion_mnist() -> None:
    folder = Path("/usr/share/datasets/fashion-mnist")
    if not folder.exists():
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    for split, count in (("train", 12_000), ("test", 2_000)):
        whole = open_it(f"fashion-mnist:{folder}", 1, split=split).stack["image"]
        packed = open_it("builtin:fashion", 1, split=split).stack["image"]
        np.testing.assert_array_equal(whole[:count], packed)


def test_the_packed_data_stay_small() -> None:
    import manyviews.data

    folder = Path(manyviews.data.__file__).parent / "builtin"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 8_000_000
    assert "MIT License" in (folder / "LICENSE-fashion-mnist").read_text(encoding="utf-8")


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "train-images.idx3-ubyte"])
@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_are_read_gzipped_or_not(tmp_path: Path, name: str, packed: bool) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 5, 6), np.uint8)
    path = tmp_path / (name + (".gz" if packed else ""))
    path.write_bytes(gzip.compress(idx(images)) if packed else idx(images))
    source = open_it(f"fashion-mnist:{tmp_path}", 1)
    np.testing.assert_array_equal(source.stack["image"], images[..., None])
    np.testing.assert_array_equal(
        open_it(f"fashion-mnist:{tmp_path}", 3).read(2), np.stack([images[2]] * 3, -1)
    )


def test_broken_idx_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    spec = f"fashion-mnist:{tmp_path}"
    assert "has no train-images-idx3-ubyte" in complaint(spec)
    data = idx(np.zeros((3, 5, 6), np.uint8))
    for content, what in (
        (gzip.compress(data)[:-20], "Cannot read"),
        (gzip.compress(data[:-1]), "holds 89 bytes where its header says 3 x 5 x 6"),
        (b"hello", "is not an IDX file"),
        (idx(np.zeros(5, np.uint8)), r"shape (5,)"),
        (b"", "is not an IDX file"),
    ):
        path.write_bytes(content)
        assert what in complaint(spec)
        assert str(path) in complaint(spec)


# --- errors --------------------------------------------------------------------------------


def test_each_mistake_has_its_message(tmp_path: Path) -> None:
    folder_of(tmp_path / "data", 1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.pdf").write_text("x")
    (tmp_path / "blank.txt").write_text("# nothing\n\n")
    (tmp_path / "wrong.txt").write_text("nowhere/a.png\n")
    (tmp_path / "data.zip").write_bytes(b"PK\0\0")
    assert "There is no file or folder" in complaint(tmp_path / "missing")
    assert "builtin:fashion" in complaint(tmp_path / "missing")
    assert "The data has no name" in complaint("")
    assert "has no files" in complaint(tmp_path / "empty")
    assert "no images, but 1 other files (1 .pdf)" in complaint(tmp_path / "docs")
    assert "names no file" in complaint(tmp_path / "blank.txt")
    assert "None of the 1 paths" in complaint(tmp_path / "wrong.txt")
    assert "not a text file" in complaint(tmp_path / "data.zip")
    assert "is one sample" in complaint(tmp_path / "data" / "0000.png")
    assert "no built-in data set 'builtin:cifar'" in complaint("builtin:cifar")
    assert "needs the folder" in complaint("fashion-mnist:")
    assert "has 1 channel" in complaint("builtin:fashion", 4)
    assert "--data.channels 0" in complaint("builtin:fashion", 0)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_folder_is_named(tmp_path: Path) -> None:
    folder_of(tmp_path / "data" / "secret", 1)
    (tmp_path / "data" / "secret").chmod(0)
    try:
        assert "secret: Permission denied" in complaint(tmp_path / "data")
    finally:
        (tmp_path / "data" / "secret").chmod(0o700)


def test_a_folder_that_cannot_be_listed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As above, for root too: the listing itself fails."""
    folder_of(tmp_path / "data" / "secret", 1)
    real = os.scandir

    def scandir(path: str):
        if path.endswith("secret"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert "secret: Permission denied" in complaint(tmp_path / "data")


def test_a_source_can_go_to_a_worker(tmp_path: Path) -> None:
    source = open_it(folder_of(tmp_path, 2))
    assert isinstance(source, Files)
    twin = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(twin.read(1), source.read(1))
    error = Unreadable("a.png", "empty file")
    assert pickle.loads(pickle.dumps(error)).reason == "empty file"
