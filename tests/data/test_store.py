"""What is kept is what was decoded, whoever decodes it, and whatever goes wrong."""

import errno
import gc
import logging
import os
import pickle
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from forks import fork, run, run_ranks, wait
from manyviews.core.inputs import Pixels
from manyviews.core.sample import Unreadable
from manyviews.data import free_space, store, worth
from manyviews.data.loader import batches
from manyviews.data.settings import Data
from manyviews.data.sources import ImageSource, open_source
from manyviews.data.store import ROWS, Kept, create, join
from manyviews.data.streams import image
from manyviews.data.worth import Costs, choose, keep
from manyviews.views.by_input import plain
from manyviews.views.image.columns import Columns
from manyviews.views.pipeline import Fed, Pipeline
from manyviews.views.plan import Crops

COUNT = 14
SIZES = [(60, 80), (200, 121), (33, 47)]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JPEG, PNG and grey files of several sizes; two that are none."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(COUNT):
        name = folder / f"{i:02d}.{'png' if i % 4 == 3 else 'jpg'}"
        if i in (4, 9):
            name.write_text("no image")
            continue
        tall, wide = SIZES[i % 3]
        shape = (6, 6) if i == 6 else (6, 6, 3)
        small = Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))
        small.resize((wide, tall), Image.Resampling.BICUBIC).save(name)
    return folder


def opened(photos: Path) -> ImageSource:
    return open_source(str(photos), channels=3, max_pixels=10**6)


@pytest.fixture(params=["memory", "file", "memory in columns", "file in columns"])
def kept(request: pytest.FixtureRequest, photos: Path, tmp_path: Path) -> Iterator[Kept]:
    where, _, columns = request.param.partition(" in ")
    folder = tmp_path / "cache" if where == "file" else None
    how = Columns() if columns else ROWS
    held = create(COUNT, channels=3, largest=80_000, budget=10**8, folder=folder, how=how)
    source = Kept(opened(photos), held)
    yield source
    source.close()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file with a line for each image that any process decodes from now on."""
    path = tmp_path / "decoded"
    original = image.read

    def counted(name: str, **options: int) -> np.ndarray:
        with path.open("a") as file:
            file.write(f"{Path(name).stem}\n")
        return original(name, **options)

    monkeypatch.setattr(image, "read", counted)
    path.touch()
    return path


def views(source: ImageSource, stop: int = 12, **options) -> list:
    """Every step's views of 12 steps: three epochs."""
    plan = {"global": Crops(size=24, blur=(0.5,)), "local": Crops(size=12, count=3)}
    pipeline = Pipeline(plan, {"image": Fed(Pixels(side=24))}, seed=5)
    options = {"workers": 0, "on_bad": lambda bad: None, "start_step": 0} | options
    steps = batches(
        source, pipeline, seed=1, global_batch=3, stop_step=stop, max_bad=0.5, **options
    )
    return [
        {name: view.clone() for name, view in raw.views.items()} | {"index": raw.index.clone()}
        for step in steps
        for raw in step
    ]


def same(one: list, two: list) -> bool:
    return len(one) == len(two) > 0 and all(
        a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
        for a, b in zip(one, two, strict=True)
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_views_are_the_same_bit_for_bit(photos: Path, kept: Kept, workers: int) -> None:
    wanted, met = views(opened(photos)), []
    assert same(views(kept, workers=workers, on_bad=met.append), wanted)
    assert kept.store is not None
    assert kept.store.kept == COUNT - 2
    assert same(views(kept, workers=workers), wanted)
    assert sorted({Path(bad.path).name for bad in met}) == ["04.jpg", "09.jpg"]


def test_no_image_is_decoded_twice_after_the_first_epoch(
    kept: Kept, decoded: Path, photos: Path
) -> None:
    views(kept, stop=8, workers=2)
    assert kept.store is not None
    readable = [i for i in range(COUNT) if i not in (4, 9)]
    missing = [i for i in readable if kept.store.get(i) is None]
    for i in missing:  # the rest of each permutation, which no step of these epochs had
        kept.read(i)
    decoded.write_text("")
    views(kept, start_step=8, stop=20, workers=2)
    assert {int(i) for i in decoded.read_text().split()} <= {4, 9}  # which there are not


def test_pixels_come_back_as_they_were(kept: Kept, photos: Path) -> None:
    inner = opened(photos)
    for _ in range(2):
        for i in range(COUNT):
            if i in (4, 9):
                with pytest.raises(Unreadable, match="not an image"):
                    kept.open(i)["image"].read()
                continue
            pixels = kept.open(i)["image"].read()
            np.testing.assert_array_equal(pixels, inner.read(i))
    with pytest.raises(ValueError, match="read-only"):
        kept.read(0)[:] = 0
    assert (len(kept), kept.digest, kept.spec) == (len(inner), inner.digest, inner.spec)
    assert (kept.name(3), kept.raw(3), kept.header(3)) == (
        inner.name(3),
        inner.raw(3),
        inner.header(3),
    )


def test_every_consumer_reads_what_is_kept(kept: Kept, photos: Path, decoded: Path) -> None:
    fixed = plain({"image": Fed(Pixels(side=24))})
    for _ in range(2):
        np.testing.assert_array_equal(fixed.read(kept, 1, 0).image, opened(photos).read(1))
    assert decoded.read_text().split() == ["01"]


def test_an_image_that_a_killed_process_half_wrote_is_decoded_again(
    kept: Kept, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = kept.store
    assert held is not None
    wanted, real = kept.inner.read(1), os.pwrite

    def dying(file: int, data: memoryview, start: int) -> int:
        real(file, data[: len(data) // 2], start)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    def action() -> None:
        os.pwrite = dying
        kept.read(0)
        kept.read(1)

    assert run(action) == -signal.SIGKILL
    assert held.kept == 0
    np.testing.assert_array_equal(kept.read(1), wanted)
    np.testing.assert_array_equal(held.get(1), wanted)


def test_two_processes_fill_one_store(kept: Kept, photos: Path) -> None:
    def action() -> None:
        for i in (0, 1, 2, 3, 5):
            kept.read(i)

    children = [fork(action) for _ in range(2)]
    assert [wait(child) for child in children] == [0, 0]
    assert kept.store is not None
    assert kept.store.kept == 5
    for i in (0, 1, 2, 3, 5):
        np.testing.assert_array_equal(kept.store.get(i), kept.inner.read(i))


def test_workers_that_are_not_forked_join(kept: Kept) -> None:
    kept.read(0)
    other = pickle.loads(pickle.dumps(kept))
    assert other.store is not None
    other.read(1)
    assert kept.store is not None
    np.testing.assert_array_equal(kept.store.get(1), kept.inner.read(1))
    np.testing.assert_array_equal(other.store.get(0), kept.inner.read(0))
    other.close()
    assert other.read(0).shape == kept.read(0).shape
    kept.close()
    assert pickle.loads(pickle.dumps(kept)).store is None


def test_a_stranger_s_store_is_not_joined(kept: Kept) -> None:
    assert kept.store is not None
    place = kept.store.place
    assert join(replace(place, token=place.token + 1), ROWS) is None
    assert join(replace(place, index=10_000), ROWS) is None
    assert join(replace(place, process=2**30), ROWS) is None


def test_ranks_share_the_first_one_s(photos: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(worth, "_CHEAP", 0.0)
    read, done = tmp_path / "read", tmp_path / "done"

    def action(rank: int) -> None:
        os.environ["LOCAL_RANK"] = str(rank)
        source = keep(
            opened(photos), Data(source="", store="memory"), epochs=3, seconds=np.inf,
            processes=2, folder=tmp_path, device=torch.device("cpu"), how=Columns(),
        )  # fmt: skip
        assert source is not None
        assert source.store is not None
        if rank == 0:
            source.read(2)
            read.touch()
            while not done.exists():
                pass
        else:
            while not read.exists():
                pass
            np.testing.assert_array_equal(source.store.get(2), opened(photos).read(2))
            done.touch()

    assert run_ranks(2, action, meeting=tmp_path / "meeting") == [0, 0]


def test_a_disk_that_is_full_is_one_line(
    kept: Kept, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "manyviews")
    kept.read(0)
    real, left = os.pwrite, [5000]

    def full(file: int, data: memoryview, start: int) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = real(file, data[: left[0]], start)
        left[0] -= written
        return written

    monkeypatch.setattr(os, "pwrite", full)
    wanted = [kept.inner.read(i) for i in (0, 1, 2)]
    for _ in range(2):
        for i in (0, 1, 2):
            np.testing.assert_array_equal(kept.read(i), wanted[i])
    [record] = caplog.records
    assert record.getMessage().startswith("1 of 14 decoded images are kept and no more: No space")


@pytest.mark.parametrize("where", ["memory", "file"])
def test_what_others_need_is_left_to_them(
    where: str, photos: Path, tmp_path: Path, caplog, monkeypatch
) -> None:
    monkeypatch.setattr(store, "free_memory", lambda: (9, 100))
    monkeypatch.setattr(store, "free_disk", lambda _: (4, 100))
    inner = opened(photos)
    folder = tmp_path if where == "file" else None
    source = Kept(inner, create(COUNT, channels=3, largest=80_000, budget=10**8, folder=folder))
    for i in (0, 1, 0, 1):
        source.read(i)
    assert source.store is not None
    assert source.store.kept == 0
    [record] = caplog.records
    assert ("memory" if where == "memory" else "disk") in record.getMessage()
    source.close()


def test_a_budget_is_kept_to(photos: Path, caplog: pytest.LogCaptureFixture) -> None:
    inner = opened(photos)
    held = create(COUNT, channels=3, largest=80_000, budget=100_000)
    source = Kept(inner, held)
    wanted = views(opened(photos))
    assert same(views(source), wanted)
    assert 0 < held.kept < COUNT - 2
    assert 50_000 < held.used <= 100_000
    assert not caplog.records
    source.close()


def test_nothing_is_left_behind(photos: Path, tmp_path: Path) -> None:
    inner = opened(photos)
    gc.collect()  # of what other tests left
    before = len(list(Path("/proc/self/fd").iterdir()))
    source = Kept(
        inner, create(COUNT, channels=3, largest=80_000, budget=10**8, folder=tmp_path / "cache")
    )
    pixels = source.read(0)
    assert list((tmp_path / "cache").iterdir()) == []  # nor is there a name while it is used
    source.close()
    del source
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert pixels.shape == inner.read(0).shape


def test_arrays_outlive_the_store(photos: Path) -> None:
    inner = opened(photos)
    source = Kept(inner, create(COUNT, channels=3, largest=80_000, budget=10**8))
    source.read(1)
    pixels = source.read(1)
    source.close()
    np.testing.assert_array_equal(pixels, inner.read(1))
    np.testing.assert_array_equal(source.read(1), pixels)


def test_where_addresses_are_short_it_is_read_instead(photos: Path, monkeypatch) -> None:
    inner = opened(photos)
    real = store.mmap.mmap

    def limited(file: int, size: int, **options) -> object:
        if options.get("access") == store.mmap.ACCESS_READ:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        return real(file, size, **options)

    monkeypatch.setattr(store.mmap, "mmap", limited)
    source = Kept(inner, create(COUNT, channels=3, largest=80_000, budget=10**8))
    for _ in range(2):
        np.testing.assert_array_equal(source.read(1), inner.read(1))
    source.close()


GB = 10**9
FREE = {"memory": 20 * GB, "file": 300 * GB}
JPEGS = Costs(room=600_000, largest=600_000, channels=3, decoding=1e-3, copying=5e-5)


def chosen(seen: Costs = JPEGS, *, count: int = 10_000, epochs=100.0, seconds=np.inf, **data):
    return choose(
        Data(source="", **data), seen, count=count, epochs=epochs, seconds=seconds, processes=4,
        free=FREE,
    )  # fmt: skip


def test_it_is_chosen_where_it_pays() -> None:
    assert (chosen().where, chosen().budget) == ("memory", 10 * GB)
    assert chosen(epochs=2).where == "memory"
    assert "6 GB, at most 10 GB" in chosen().said
    assert chosen(count=30_000).said.startswith("56% of the decoded images are kept in memory")
    assert chosen(store_gb=3.0).budget == 3 * GB
    assert chosen(store="file").budget == 150 * GB
    assert "in a file" in chosen(store="file").said


def test_it_is_not_chosen_where_it_does_not_pay() -> None:
    assert chosen(epochs=1.9).where == ""
    assert chosen(replace(JPEGS, decoding=1e-4)).where == ""
    assert chosen(seconds=4.9, epochs=np.inf).where == ""  # an epoch takes 2.5 seconds at least
    assert chosen(seconds=5.1, epochs=np.inf).where == "memory"
    assert chosen(count=1_300_000).where == ""
    assert "about 780 GB, and 10 GB may be used" in chosen(count=1_300_000).said
    assert chosen(count=1_300_000, store="memory").where == "memory"  # who asks for it gets it


@pytest.mark.parametrize("data", ["builtin:fashion", "off", "one epoch"])
def test_nothing_is_tried_where_there_is_nothing_to_gain(
    data: str, photos: Path, tmp_path: Path, decoded: Path
) -> None:
    source = (
        open_source(data, channels=1, max_pixels=10**6)
        if data == "builtin:fashion"
        else opened(photos)
    )
    settings = Data(source="", store="off" if data == "off" else "auto")
    found = keep(
        source, settings, epochs=1 if data == "one epoch" else 9, seconds=np.inf, processes=1,
        folder=tmp_path, device=torch.device("cpu"), how=ROWS,
    )  # fmt: skip
    assert found is None
    assert decoded.read_text() == ""


def test_where_it_cannot_be_made_training_goes_on(
    photos: Path, tmp_path: Path, caplog, monkeypatch
) -> None:
    blocked = tmp_path / "cache"
    blocked.write_text("a file in the way")
    found = keep(
        opened(photos), Data(source="", store="file"), epochs=9, seconds=np.inf, processes=1,
        folder=blocked, device=torch.device("cpu"), how=ROWS,
    )  # fmt: skip
    assert found is None
    [record] = caplog.records
    assert "Decoded images are not kept: File exists. Training goes on" in record.getMessage()


def test_a_container_s_limit_counts(tmp_path: Path) -> None:
    meminfo, own = tmp_path / "meminfo", tmp_path / "own"
    meminfo.write_text("MemTotal: 1000 kB\nMemFree: 5 kB\nMemAvailable:    800 kB\n")
    own.write_text("0::/user/job\n")

    def said(**files: str) -> tuple[int, int]:
        group = tmp_path / "groups" / "user" / "job"
        group.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (group / name.replace("_of_", ".")).write_text(text)
        return free_space.free_memory(meminfo=meminfo, groups=tmp_path / "groups", own=own)

    assert said() == (800 * 1024, 1000 * 1024)
    assert said(memory_of_max="max\n", memory_of_current="500") == (800 * 1024, 1000 * 1024)
    stat = "anon 5\ninactive_file 100\n"
    limited = said(memory_of_max="1000", memory_of_current="700", memory_of_stat=stat)
    assert limited == (400, 1000)
    top = tmp_path / "groups"
    (top / "user" / "memory.max").write_text("900")
    (top / "user" / "memory.current").write_text("880")
    assert said() == (20, 900)
    assert free_space.free_memory(meminfo=tmp_path / "none") == (0, 0)


def test_the_first_version_of_control_groups_counts_too(tmp_path: Path) -> None:
    meminfo, own = tmp_path / "meminfo", tmp_path / "own"
    meminfo.write_text("MemTotal: 1000 kB\nMemAvailable:    800 kB\n")
    own.write_text("3:cpu:/x\n5:memory:/docker/abc\n")
    top = tmp_path / "memory"  # a container sees its own group as the top
    top.mkdir()
    (top / "memory.limit_in_bytes").write_text("5000")
    (top / "memory.usage_in_bytes").write_text("4000")
    (top / "memory.stat").write_text("total_inactive_file 500\n")
    assert free_space.free_memory(meminfo=meminfo, groups=tmp_path, own=own) == (1500, 5000)
