"""The identity of labelled data: a copy is the same, any other image or label is not."""

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from manyviews.data import sources
from manyviews.evaluation import identity
from manyviews.evaluation.identity import content
from manyviews.evaluation.labelled import open_labelled


@pytest.fixture
def folder(tmp_path):
    """Two classes in given parts, raw pixels of one size each."""
    root, random = tmp_path / "photos", np.random.default_rng(0)
    for part in ("train", "test"):
        for name in "ab":
            (root / part / name).mkdir(parents=True)
            for i in range(3):
                pixels = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{i}.bmp")
    return root


def of(spec, *, channels=3, **more):
    parts = [
        open_labelled(str(spec), channels=channels, max_pixels=1000, split=split)
        for split in ("train", "test")
    ]
    return content(*parts, **more)


def edit(file):
    """Another pixel, the same size."""
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def test_a_copy_of_another_date_and_name_is_the_same_data(folder, tmp_path):
    copied = tmp_path / "copied"
    shutil.copytree(folder, copied, copy_function=shutil.copyfile)
    for file in copied.rglob("*.bmp"):
        os.utime(file, ns=(1, 1))
    assert of(copied) == of(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda root: edit(root / "test" / "a" / "1.bmp"),
        lambda root: edit(root / "train" / "b" / "1.bmp"),
        lambda root: (root / "test" / "a" / "1.bmp").unlink(),
        lambda root: shutil.move(root / "test" / "a" / "2.bmp", root / "test" / "b" / "00.bmp"),
        lambda root: shutil.move(root / "test" / "a" / "2.bmp", root / "train" / "a" / "3.bmp"),
        lambda root: [(root / part / "b").rename(root / part / "c") for part in ("train", "test")],
    ],
    ids=["test", "train", "fewer", "label", "part", "class"],
)
@pytest.mark.parametrize("cached", [False, True])
def test_other_images_or_labels_are_other_data(folder, tmp_path, change, cached):
    told = {"cache": tmp_path / "cache"} if cached else {}
    before = of(folder, **told)
    change(folder)
    assert of(folder, **told) != before


def test_files_are_read_once(folder, tmp_path, monkeypatch):
    first = of(folder, cache=tmp_path / "cache")
    monkeypatch.setattr(identity, "_files", None)
    assert of(folder, cache=tmp_path / "cache") == first


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sha256": 3}', "[" * 100_000])
def test_a_broken_note_is_made_again(folder, tmp_path, text):
    first = of(folder, cache=tmp_path / "cache")
    for note in (tmp_path / "cache").iterdir():
        note.write_text(text)
    assert of(folder, cache=tmp_path / "cache") == first
    assert all("sha256" in note.read_text() for note in (tmp_path / "cache").iterdir())


def test_what_cannot_be_kept_is_read_again(folder, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    assert of(folder, cache=tmp_path / "cache") == of(folder)


def test_the_same_images_with_other_labels_are_other_data(folder):
    train, test = (
        open_labelled(str(folder), channels=3, max_pixels=1000, split=split)
        for split in ("train", "test")
    )
    assert content(train, test) != content(train, replace(test, labels=1 - test.labels))


def test_an_image_that_cannot_be_read_has_its_place(folder, monkeypatch):
    whole, real, found = of(folder), sources.Files.raw, set()
    for bad in ("test/a/1.bmp", "test/b/1.bmp"):

        def failing(self, index, bad=bad):
            if self.name(index).endswith(bad):
                raise OSError("gone")
            return real(self, index)

        monkeypatch.setattr(sources.Files, "raw", failing)
        found.add(of(folder))
    assert len(found | {whole}) == 3


def test_grey_images_are_the_same_in_any_number_of_channels():
    assert of("builtin:fashion", channels=1) == of("builtin:fashion", channels=3)


def test_progress_is_told(folder):
    told = []
    of(folder, progress=lambda *done: told.append(done))
    assert told == [(i, 6) for i in range(1, 7)] * 2
