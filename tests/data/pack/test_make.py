"""A data set is packed once, whatever interrupts it, and is then read as if it were the data."""

import errno
import json
import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from pictures import folder_of, picture
from PIL import Image

import manyviews
from manyviews.core import Failure, UsageError, files
from manyviews.core.sample import Bytes
from manyviews.data.pack import layout
from manyviews.data.pack import make as packing
from manyviews.data.pack import write as shards
from manyviews.data.sources import ImageSource, open_source
from manyviews.verbs.cli import main

FILES = ("pack.json", "index.bin", "names.bin", "shard-00000.bin")


def open_it(path: Path, channels: int = 3) -> ImageSource:
    return open_source(str(path), channels=channels, max_pixels=10**6)


def photo(height: int, width: int) -> Bytes:
    """Soft colours, so that JPEG changes little."""
    y, x = np.mgrid[:height, :width]
    return np.stack([255 * y // height, 255 * x // width, 128 + 0 * x], axis=2).astype(np.uint8)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def pack(data: Path, out: Path, **options: object) -> packing.PackReport:
    return packing.pack(str(data), out, **({"workers": 0} | options))  # type: ignore[arg-type]


# --- what is in it -------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["jpeg", "uint8"])
def test_a_pack_reads_as_the_data_with_its_shorter_side_brought_down(tmp_path, form):
    data = tmp_path / "data"
    (data / "a").mkdir(parents=True)
    shapes = {"a/wide.png": (80, 200), "a/tall.png": (150, 60), "é.png": (30, 41)}
    for name, shape in shapes.items():
        Image.fromarray(photo(*shape)).save(data / name)
    report = pack(data, tmp_path / "out", size=40, format=form, quality=95)
    assert (report.images, report.unreadable, report.continued) == (3, 0, 0)
    before, after = open_it(data), open_it(tmp_path / "out")
    assert [after.name(i) for i in range(3)] == [before.name(i) for i in range(3)]
    wanted = [(100, 40), (40, 100), (30, 41)]  # tall, wide, é, which is not enlarged
    for i, shape in enumerate(wanted):
        assert after.read(i).shape == (*shape, 3)
        header = after.header(i)
        assert (header.height, header.width, header.mode) == (*shape, "RGB")
        whole = Image.fromarray(before.read(i)).resize(shape[::-1], Image.Resampling.BOX)
        gap = np.abs(np.asarray(whole, int) - after.read(i))
        assert gap.mean() < 3
    exact = np.array_equal(after.read(2), before.read(2))
    assert exact == (form == "uint8")


def test_a_jpeg_that_needs_no_resizing_is_kept_as_it_is(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    Image.fromarray(photo(30, 40)).save(data / "small.jpg", quality=70)
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(photo(30, 40)).save(data / "turned.jpg", exif=turned)
    Image.fromarray(photo(80, 90)).save(data / "large.jpg")
    pack(data, tmp_path / "out", size=60)
    before, after = open_it(data), open_it(tmp_path / "out")
    stored = {Path(after.name(i)).name: after.raw(i) for i in range(3)}
    assert stored["small.jpg"] == (data / "small.jpg").read_bytes()
    assert stored["turned.jpg"] != (data / "turned.jpg").read_bytes()
    upright = after.read(2)
    assert upright.shape == (40, 30, 3)
    assert np.abs(upright.astype(int) - before.read(2)).mean() < 3


@pytest.mark.parametrize("form", ["jpeg", "uint8"])
def test_grey_images_are_packed_with_one_channel_and_read_with_three(tmp_path, form):
    data = tmp_path / "data"
    data.mkdir()
    for i in range(4):
        Image.fromarray(picture(i)[..., 0]).save(data / f"{i}.png")
    pack(data, tmp_path / "out", format=form)
    assert layout.read_about(tmp_path / "out").plan.channels == 1
    grey, colour = open_it(tmp_path / "out", 1), open_it(tmp_path / "out", 3)
    assert grey.read(1).shape == (16, 16, 1)
    np.testing.assert_array_equal(colour.read(1), np.repeat(grey.read(1), 3, axis=2))
    if form == "uint8":
        np.testing.assert_array_equal(grey.read(1)[..., 0], picture(1)[..., 0])


def test_images_of_five_channels_are_packed_as_pixels(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 5), np.uint8)
    np.save(data / "a.npy", pixels)
    np.save(data / "b.npy", pixels)
    with pytest.raises(UsageError, match=r"JPEG has no 5 channels. Use --format uint8"):
        pack(data, tmp_path / "out", channels=5)
    pack(data, tmp_path / "out", channels=5, format="uint8", size=10)
    assert open_it(tmp_path / "out", 5).read(0).shape == (10, 12, 5)
    with pytest.raises(UsageError, match=r"packed with 5 channels.*Use --data.channels 5"):
        open_it(tmp_path / "out", 3)


def test_junk_is_left_out_counted_and_named(tmp_path):
    data = folder_of(tmp_path / "data", 20, bad=(0, 3, 4))
    report = pack(data, tmp_path / "out", format="uint8", workers=1)
    assert (report.images, report.unreadable) == (17, 3)
    noted = [json.loads(x) for x in (tmp_path / "out/quarantine.jsonl").read_text().splitlines()]
    assert [Path(x["path"]).name for x in noted] == ["0000.png", "0003.png", "0004.png"]
    assert all("not an image" in x["reason"] for x in noted)
    after = open_it(tmp_path / "out")
    names = [Path(after.name(i)).name for i in range(len(after))]
    assert names == [f"{i:04d}.png" for i in range(20) if i not in (0, 3, 4)]
    np.testing.assert_array_equal(after.read(1), picture(2))


def test_nothing_but_junk_is_no_pack(tmp_path):
    data = folder_of(tmp_path / "data", 3, bad=(0, 1, 2))
    with pytest.raises(UsageError, match="None of 3 images tried"):
        pack(data, tmp_path / "out")


def test_the_digest_is_of_the_content(tmp_path, monkeypatch):
    data = folder_of(tmp_path / "data", 6)
    first = pack(data, tmp_path / "1", format="uint8").digest
    monkeypatch.setattr(shards, "_SHARD", 2000)
    assert pack(data, tmp_path / "2", format="uint8").digest == first
    assert len(list((tmp_path / "2").glob("shard-*.bin"))) == 3
    sources = [open_it(tmp_path / name) for name in "12"]
    assert sources[0].digest == sources[1].digest == first
    for i in range(6):
        np.testing.assert_array_equal(sources[1].read(i), sources[0].read(i))
    changed = picture(5)
    changed[7, 7, 1] ^= 1
    Image.fromarray(changed).save(data / "0005.png")
    assert pack(data, tmp_path / "3", format="uint8").digest != first


# --- interruptions -------------------------------------------------------------------------


def _pack_and_die(data: Path, out: Path, at: int) -> None:
    left = at
    real = os.fsync

    def fsync(file: int) -> None:
        nonlocal left
        real(file)
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    os.fsync = shards.os.fsync = files.os.fsync = fsync
    shards._SECONDS = -1.0
    pack(data, out, format="uint8")


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("at", [1, 2, 3, 4, 14, 15, 16, 17, 18])
def test_a_pack_killed_at_any_moment_goes_on_and_ends_the_same(tmp_path, monkeypatch, at):
    """Forced to disk: the plan once, for each of 7 images shard and journal, then three files."""
    monkeypatch.setattr(shards, "_SHARD", 2000)
    data = folder_of(tmp_path / "data", 7, bad=(2,))
    pack(data, tmp_path / "whole", format="uint8")
    process = multiprocessing.get_context("fork").Process(
        target=_pack_and_die, args=(data, tmp_path / "out", at)
    )
    process.start()
    process.join(timeout=20)
    assert process.exitcode == -signal.SIGKILL
    with pytest.raises(UsageError, match=r"not finished. Run the same" if at > 1 else "no files"):
        open_it(tmp_path / "out")
    report = pack(data, tmp_path / "out", format="uint8")
    assert report.continued == min(7, (at - 1) // 2)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("lost", ["half an entry", "bytes of a shard", "a shard"])
def test_what_a_power_cut_lost_is_packed_again(tmp_path, monkeypatch, lost):
    monkeypatch.setattr(shards, "_SHARD", 2000)
    data = folder_of(tmp_path / "data", 7)
    pack(data, tmp_path / "whole", format="uint8")
    out = tmp_path / "out"
    monkeypatch.setattr(packing, "_finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        pack(data, out, format="uint8")
    monkeypatch.undo()
    monkeypatch.setattr(shards, "_SHARD", 2000)
    size, kept = layout.ENTRY.itemsize, 6
    if lost == "half an entry":
        os.truncate(out / "packing.bin", 7 * size - 5)
        (out / "shard-00003.bin").write_bytes(b"x" * 5000)
    elif lost == "bytes of a shard":
        os.truncate(out / "shard-00001.bin", 1000)
        kept = 3
    else:
        (out / "shard-00001.bin").unlink()
        kept = 2
    assert pack(data, out, format="uint8").continued == kept
    assert contents(out) == contents(tmp_path / "whole")


def test_a_full_disk_is_one_line_and_the_work_goes_on(tmp_path, monkeypatch):
    data = folder_of(tmp_path / "data", 9)
    pack(data, tmp_path / "whole")
    monkeypatch.setattr(shards, "_SECONDS", -1.0)
    real, left = os.fsync, 12

    def full(file: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(file)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Failure) as caught:
        pack(data, tmp_path / "out")
    assert str(caught.value) == (
        f"Cannot write to {tmp_path / 'out'}: No space left on device. Make room and give the "
        "same command again: it goes on where it stopped."
    )
    monkeypatch.undo()
    assert pack(data, tmp_path / "out").continued >= 5
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_second_call_does_nothing_and_another_pack_is_refused(tmp_path):
    data = folder_of(tmp_path / "data", 4)
    pack(data, tmp_path / "out")
    before = contents(tmp_path / "out")
    assert pack(data, tmp_path / "out").continued == 4
    with pytest.raises(UsageError, match="holds a pack with size 256"):
        pack(data, tmp_path / "out", size=128)
    (data / "0003.png").unlink()
    with pytest.raises(UsageError, match="holds a pack of other data"):
        pack(data, tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("precious")
    with pytest.raises(UsageError, match="is not empty"):
        pack(data, tmp_path / "full")
    assert contents(tmp_path / "out") == before


def test_two_processes_do_not_pack_into_one_folder(tmp_path, monkeypatch):
    data = folder_of(tmp_path / "data", 4)
    real = packing._make

    def meanwhile(*arguments: object) -> object:
        with pytest.raises(Failure, match="Another process is packing"):
            pack(data, tmp_path / "out")
        monkeypatch.setattr(packing, "_make", real)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(packing, "_make", meanwhile)
    assert pack(data, tmp_path / "out").images == 4


# --- the verb ------------------------------------------------------------------------------


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code  # type: ignore[return-value]


def test_a_pack_is_data_for_every_verb(tmp_path, capsys):
    data = folder_of(tmp_path / "data", 40, bad=(7,))
    out, run_at = tmp_path / "packed", tmp_path / "run"
    assert run("pack", data, out, "--size", 12, "--workers", 0, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["images"], said["unreadable"]) == (39, 1)
    assert run("doctor", out) == 0
    assert "39" in capsys.readouterr().out
    tiny = ["--train.steps", 2, "--data.batch-size", 16, "--encoder.width", 8]
    tiny += ["--method.hidden", 16, "--method.out", 16, "--data.workers", 0]
    assert run("train", "simclr", "--data", out, "--out", run_at, *tiny) == 0
    assert run("embed", run_at, "--data", out, "--out", tmp_path / "f.npy") == 0
    assert np.load(tmp_path / "f.npy").shape[0] == 39
    assert manyviews.pack(str(data), out, size=12, workers=0).continued == 40


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--size", "0"], "--size 0 is no number of pixels"),
        (["--quality", "101"], "--quality 101 is not from 1 to 100"),
        (["--format", "png"], "invalid choice 'png'"),
        (["--channels", "-1"], "--channels -1"),
        (["--workers", "-7"], "--workers -7 is not a number of processes"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, capsys, flags, words):
    data = folder_of(tmp_path / "data", 2)
    assert run("pack", data, tmp_path / "out", *flags) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert words in said[0]
    assert not (tmp_path / "out").exists()
