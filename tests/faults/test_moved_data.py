"""A run goes on from another folder, and when its data were moved or copied."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

import manyviews
from manyviews.core import UsageError
from manyviews.data.places import absolute, contents
from manyviews.data.sources import open_source
from manyviews.runs.folder import read

SHORT = {
    "encoder.width": 8,
    "method.hidden": 16,
    "method.out": 4,
    "data.workers": 0,
    "data.batch_size": 8,
    "train.precision": "fp32",
}


def pictures(folder, count=24, *, bad=()):
    folder.mkdir(parents=True)
    for i in range(count):
        pixels = np.random.default_rng(i).integers(0, 256, (28, 28, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02d}.png")
        if i in bad:
            (folder / f"{i:02d}.png").write_bytes(b"")
    return folder


def begun(tmp_path, monkeypatch, **data):
    """A short run, begun on photos by a relative path."""
    pictures(tmp_path / "home" / "photos", **data)
    monkeypatch.chdir(tmp_path / "home")
    manyviews.train("simclr", data="photos", out="run", overrides=SHORT | {"train.steps": 3})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "home" / "run"


def test_all_verbs_work_from_another_folder(tmp_path, monkeypatch):
    run = begun(tmp_path, monkeypatch)
    assert read.saved_run(run).data.source == str(tmp_path / "home" / "photos")
    assert manyviews.resume("../home/run").status == "done"
    assert manyviews.report(run).path.is_file()
    assert manyviews.diagnose(run, sample=20, views=2, clusters=2).images == 20


def test_data_that_were_moved_are_found_where_one_says(tmp_path, monkeypatch, caplog):
    run = begun(tmp_path, monkeypatch, bad=(5,))
    (tmp_path / "home" / "photos").rename(tmp_path / "images")
    for verb in (manyviews.resume, manyviews.report, manyviews.diagnose):
        with pytest.raises(UsageError, match="If the data were moved, say where they are: --data"):
            verb(run)
    assert manyviews.report(run, data="../images").path.is_file()
    assert manyviews.diagnose(run, data="../images", sample=20, views=2, clusters=2).images > 18
    caplog.set_level("INFO", "manyviews")
    result = manyviews.resume(run, data="../images")
    assert result.status == "done"
    assert f"The data are at {tmp_path / 'images'} now" in caplog.text
    assert manyviews.resume(run).status == "done"  # and next time without being told
    known = [entry["path"] for entry in read.read_quarantine(run)]
    assert known in ([], [str(tmp_path / "images" / "05.png")])


def test_an_unreadable_file_does_not_count_twice_under_two_names(tmp_path, monkeypatch):
    run = begun(tmp_path, monkeypatch, bad=(5,))
    lines = '{"path": "%s", "reason": "empty file"}\n' % (tmp_path / "home" / "photos" / "05.png")
    (run / "quarantine.jsonl").write_text(lines)
    (tmp_path / "home" / "photos").rename(tmp_path / "images")
    assert manyviews.resume(run, data=str(tmp_path / "images")).unreadable == 1
    (entry,) = read.read_quarantine(run)
    assert entry["path"] == str(tmp_path / "images" / "05.png")


def test_a_copy_with_new_times_is_the_same_data_and_an_edit_is_not(tmp_path, monkeypatch):
    run = begun(tmp_path, monkeypatch)
    shutil.copytree(tmp_path / "home" / "photos", tmp_path / "copy", copy_function=shutil.copyfile)
    for path in (tmp_path / "copy").iterdir():
        os.utime(path, ns=(0, 0))
    assert manyviews.resume(run, data=str(tmp_path / "copy")).status == "done"
    data = bytearray((tmp_path / "copy" / "03.png").read_bytes())
    data[-1] ^= 1
    (tmp_path / "copy" / "03.png").write_bytes(data)
    with pytest.raises(UsageError, match=r"has changed since .* --accept-data-change"):
        manyviews.resume(run)
    assert manyviews.resume(run, accept_data_change=True).status == "done"


def test_contents_tell_names_sizes_and_bytes(tmp_path):
    def of(path):
        return contents(open_source(str(path), channels=3, max_pixels=10**6))

    pictures(tmp_path / "a", 6)
    same = of(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert of(tmp_path / "b") == same
    (tmp_path / "b" / "05.png").rename(tmp_path / "b" / "06.png")
    assert of(tmp_path / "b") != same
    listed = "".join(
        f"{tmp_path / 'a' / name}\n" for name in sorted(p.name for p in (tmp_path / "a").iterdir())
    )
    (tmp_path / "one.txt").write_text(listed)
    (tmp_path / "c").mkdir()
    shutil.copytree(tmp_path / "a", tmp_path / "c" / "a")
    (tmp_path / "two.txt").write_text(listed.replace(str(tmp_path), str(tmp_path / "c")))
    assert of(tmp_path / "one.txt") == of(tmp_path / "two.txt")


def test_only_beginnings_of_some_files_of_large_data_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("manyviews.data.places._WHOLE", 100)
    monkeypatch.setattr("manyviews.data.places._FILES", 3)
    monkeypatch.setattr("manyviews.data.places._HEAD", 50)
    source = open_source(str(pictures(tmp_path / "a", 9)), channels=3, max_pixels=10**6)
    before = contents(source)
    for index, at, seen in ((4, 20, True), (4, 60, False), (3, 20, False)):
        path = tmp_path / "a" / f"{index:02d}.png"
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        path.write_bytes(data)
        assert (contents(source) != before) == seen
        data[at] ^= 1
        path.write_bytes(data)


def test_names_of_data_that_mean_the_same_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute("photos") == str(tmp_path / "photos")
    assert absolute("fashion-mnist:idx") == f"fashion-mnist:{tmp_path / 'idx'}"
    assert absolute("builtin:fashion") == "builtin:fashion"
    assert absolute("") == ""
    (tmp_path / "far" / "below").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "below")
    assert absolute("far/../photos") == str(tmp_path / "photos")
    assert absolute("far/below/..") == str(tmp_path / "far")
    assert absolute("link/..") == str(tmp_path / "link" / "..")  # this is far, and not here
