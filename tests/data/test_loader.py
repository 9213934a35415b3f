"""The stream of micro-batches depends on data, seed and step, and on nothing else."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from pictures import folder_of, number

from manyviews.core import Failure, UsageError
from manyviews.core.inputs import Pixels
from manyviews.core.sample import Layout, Source, Stream
from manyviews.data import direct, loader, micro_batch, packet, workers
from manyviews.data.loader import batches
from manyviews.data.order import Order, permutation
from manyviews.data.packet import Raw
from manyviews.data.quarantine import Bad
from manyviews.data.sources import ImageSource, Stored, open_source
from manyviews.views.pipeline import Fed, Pipeline
from manyviews.views.plan import Crops, Mask


class Telling:
    """A pipeline of two views that tell image, position and epoch."""

    makes: Mapping[str, Layout] = {"global": Layout(2, (1, 1, 4), np.dtype(np.uint8))}

    def read(self, source: Source, index: int, epoch: int) -> Any:
        return source.open(index)["image"].read()

    def stacked(self, source: Source) -> np.ndarray | None:
        return source.stack.get("image")

    def make(self, items: Any, index: np.ndarray, epoch: int, into: Mapping) -> dict:
        numbers = np.array([number(np.asarray(image)) for image in items])
        told = [numbers // 256, numbers % 256, index % 256, np.full_like(index, epoch)]
        into["global"][:] = np.stack(told, axis=-1)[:, None, None, None]
        return {"place": index[:, None] * 10}


class Deep(Telling):
    """As Telling, in wider numbers."""

    def __init__(self, dtype: str) -> None:
        self.makes = {"global": Layout(2, (1, 1, 4), np.dtype(dtype))}


class Died(Exception):
    pass


class Dying(Telling):
    def make(self, *arguments: Any) -> dict:
        os.kill(os.getpid(), signal.SIGKILL)
        raise Died


class Complaining(Telling):
    def make(self, *arguments: Any) -> dict:
        raise UsageError("These views cannot be made. Make others.")


def folder(root: Path, count: int = 40, bad: tuple[int, ...] = ()) -> ImageSource:
    return open_source(str(folder_of(root, count, bad=bad)), channels=3, max_pixels=10**6)


def stream(source: Source, start: int, stop: int, **options: Any) -> Iterator[list[Raw]]:
    defaults: dict[str, Any] = {
        "seed": 1, "global_batch": 12, "accumulate": 2, "workers": 0, "max_bad": 0.5,
        "on_bad": lambda bad: None,
    }  # fmt: skip
    return batches(
        source, options.pop("pipeline", Telling()), start_step=start, stop_step=stop,
        **(defaults | options),
    )  # fmt: skip


def same(one: list[list[Raw]], two: list[list[Raw]]) -> bool:
    assert len(one) == len(two)
    pairs = [(a, b) for x, y in zip(one, two, strict=True) for a, b in zip(x, y, strict=True)]
    return all(
        equal(a.views, b.views) and equal(a.cues, b.cues) and torch.equal(a.index, b.index)
        for a, b in pairs
    )


def equal(one: Mapping[str, torch.Tensor], two: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_a_step_holds_the_views_of_its_samples(tmp_path: Path) -> None:
    steps = list(stream(folder(tmp_path), 0, 4))
    assert [len(step) for step in steps] == [2] * 4
    raw = steps[0][0]
    assert raw.views["global"].shape == (6, 2, 1, 1, 4)
    assert (raw.views["global"].dtype, raw.index.dtype) == (torch.uint8, torch.int64)
    index = torch.cat([raw.index for step in steps for raw in step]).numpy()
    expected = [permutation(40, seed=1, epoch=e) for e in (0, 1)]
    np.testing.assert_array_equal(index, np.r_[expected[0][:36], expected[1][:12]])
    for s, step in enumerate(steps):
        for part in step:
            view = part.views["global"][:, 1, 0, 0]
            np.testing.assert_array_equal(view[:, 1], part.index)  # the image
            np.testing.assert_array_equal(view[:, 2], part.index)  # what the pipeline was told
            assert set(view[:, 3].tolist()) == {s // 3}
            assert torch.equal(part.cues["place"], part.index[:, None] * 10)


@pytest.mark.parametrize("bad", [(), (0, 3, 4, 5, 39)])
def test_workers_change_nothing(tmp_path: Path, bad: tuple[int, ...]) -> None:
    source = folder(tmp_path, bad=bad)
    results = []
    for count in (0, 1, 2):
        met: list[Bad] = []
        results.append((list(stream(source, 0, 7, workers=count, on_bad=met.append)), met))
    assert same(results[0][0], results[1][0])
    assert same(results[0][0], results[2][0])
    assert results[0][1] == results[1][1] == results[2][1]
    assert {Path(met.path).name for met in results[0][1]} == {f"{i:04d}.png" for i in bad}


@pytest.mark.parametrize("start", [1, 2, 3, 5])
def test_a_stream_can_begin_at_any_step(tmp_path: Path, start: int) -> None:
    source = folder(tmp_path, bad=(7,))
    whole = list(stream(source, 0, 8))
    assert same(list(stream(source, start, 8)), whole[start:])


def test_ranks_make_up_the_batch_of_one_process(tmp_path: Path) -> None:
    source = folder(tmp_path, bad=(7, 8))
    (one,) = stream(source, 4, 5, accumulate=1)
    ranks = [next(stream(source, 4, 5, accumulate=3, rank=r, world=2)) for r in range(2)]
    parts = [raw for step in ranks for raw in step]
    assert {len(raw.index) for raw in parts} == {2}
    assert torch.equal(torch.cat([raw.index for raw in parts]), one[0].index)
    assert torch.equal(torch.cat([raw.views["global"] for raw in parts]), one[0].views["global"])


@pytest.mark.parametrize("count", [0, 2])
def test_images_in_memory_go_to_the_pipeline_as_one_array(count: int) -> None:
    seen: list[Any] = []
    array = np.zeros((50, 2, 2, 3), np.uint8)
    array[:, 0, 0, 1] = np.arange(50)

    class Looking(Telling):
        def read(self, source: Source, index: int, epoch: int) -> Any:
            raise AssertionError

        def make(self, items: Any, index: np.ndarray, epoch: int, into: Mapping) -> dict:
            assert isinstance(items, np.ndarray)
            assert items.shape == (6, 2, 2, 3)
            seen.append(items)
            return super().make(items, index, epoch, into)

    for step in stream(Stored("memory", array), 0, 3, pipeline=Looking(), workers=count):
        for raw in step:
            np.testing.assert_array_equal(raw.views["global"][:, 0, 0, 0, 1], raw.index)
    assert bool(seen) == (count == 0)


# --- unreadable files ----------------------------------------------------------------------


def test_an_unreadable_file_is_replaced_by_the_next_readable_one(tmp_path: Path) -> None:
    bad = (0, 3, 4, 39)
    replaced = {0: 1, 3: 5, 4: 5, 39: 1}
    met: list[Bad] = []
    steps = list(stream(folder(tmp_path, bad=bad), 0, 6, on_bad=met.append))
    index = torch.cat([raw.index for step in steps for raw in step]).tolist()
    order = Order(count=40, batch=12, accumulate=1, seed=1)
    wanted = np.concatenate([order.indices(s, 0) for s in range(6)]).tolist()
    assert index == [replaced.get(i, i) for i in wanted]
    assert set(bad) <= set(wanted)
    for raw in (raw for step in steps for raw in step):
        np.testing.assert_array_equal(raw.views["global"][:, 0, 0, 0, 1], raw.index)
    assert sorted(met, key=lambda one: one.path) == [
        Bad(
            str(tmp_path / f"{i:04d}.png"),
            "not an image of a known format, or its header is broken (begins with b'no image')",
        )
        for i in bad
    ]


@pytest.mark.parametrize("count", [0, 2])
@pytest.mark.parametrize(
    ("bad", "share", "stops"),
    [
        ((3,), 0.02, False),
        ((3, 17), 0.02, True),
        ((3,), 0.01, False),  # less than one file is one
        ((3, 17), 0.01, True),
        ((3,), 0.0, True),
        ((), 0.0, False),
    ],
)
def test_a_run_stops_above_the_share_and_not_at_it(
    tmp_path: Path, count: int, bad: tuple[int, ...], share: float, stops: bool
) -> None:
    source = folder(tmp_path, 50, bad)
    steps = stream(source, 0, 6, workers=count, max_bad=share, global_batch=25, accumulate=1)
    if not stops:
        assert len(list(steps)) == 6
        return
    with pytest.raises(Failure) as caught:
        list(steps)
    assert not multiprocessing.active_children()  # though the exception keeps the stream
    assert not isinstance(caught.value, UsageError)
    message = str(caught.value)
    assert f"{len(bad)} of 50 files cannot be read, more than --data.max-bad {share:g}" in message
    assert "no image" in message
    assert "\n" not in message


@pytest.mark.parametrize("count", [0, 2])
def test_where_all_may_be_bad_and_all_are_it_ends(tmp_path: Path, count: int) -> None:
    source = folder(tmp_path, 30, tuple(range(30)))
    with pytest.raises(Failure, match="30 of 30 files cannot be read"):
        list(stream(source, 0, 2, workers=count, max_bad=1.0))


def test_files_that_other_ranks_met_count_too(tmp_path: Path) -> None:
    source = folder(tmp_path, 50, (3,))
    assert len(list(stream(source, 0, 8, max_bad=0.1, on_bad=lambda bad: 5))) == 8
    with pytest.raises(Failure, match="6 of 50 files"):
        list(stream(source, 0, 8, max_bad=0.1, on_bad=lambda bad: 6))


def test_a_folder_of_junk_stops_at_once(tmp_path: Path) -> None:
    reads = 0
    source = folder(tmp_path, 200, tuple(range(200)))
    real = source.open

    def opened(index: int) -> Mapping[str, Stream]:
        nonlocal reads
        reads += 1
        return real(index)

    source.open = opened  # type: ignore[method-assign]
    met: list[Bad] = []
    with pytest.raises(Failure, match="3 of 200 files cannot be read"):
        next(stream(source, 0, 8, max_bad=0.01, on_bad=met.append))
    assert reads == len(met) == 3


# --- processes -----------------------------------------------------------------------------


def test_mistakes_are_found_before_the_first_step(tmp_path: Path) -> None:
    source = folder(tmp_path, 5)
    with pytest.raises(UsageError, match=r"5 samples, fewer than one batch"):
        stream(source, 0, 1)
    with pytest.raises(UsageError, match=r"cannot be split over 1 ranks"):
        stream(source, 0, 1, global_batch=5)


@pytest.mark.parametrize("count", [0, 1])
def test_a_pipelines_complaint_stays_one_line(tmp_path: Path, count: int) -> None:
    with pytest.raises(UsageError) as caught:
        list(stream(folder(tmp_path), 0, 1, pipeline=Complaining(), workers=count))
    assert str(caught.value) == "These views cannot be made. Make others."


def test_a_worker_that_dies_is_a_failure_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="A decoding process died") as caught:
        list(stream(folder(tmp_path), 0, 1, pipeline=Dying(), workers=1))
    assert "--data.workers" in str(caught.value)
    assert "\n" not in str(caught.value)


def children() -> list[int]:
    path = Path(f"/proc/self/task/{os.getpid()}/children")
    return [int(pid) for pid in path.read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")
def test_workers_outlive_signals_and_end_with_the_stream(tmp_path: Path) -> None:
    before = set(children())
    source = folder(tmp_path)
    expected = list(stream(source, 0, 30))
    running = stream(source, 0, 30, workers=2)
    got = [next(running)]
    pids = set(children()) - before
    assert len(pids) == 2
    for pid in pids:
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)
    got.extend(running)
    assert same(got, expected)

    running = stream(source, 0, 10**12, workers=2)
    next(running)
    running.close()
    deadline = time.monotonic() + 60
    while set(children()) - before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert set(children()) == before


def _resize_in_worker() -> None:
    workers.prepare(0)
    cv2.GaussianBlur(np.zeros((600, 800, 3), np.uint8), (9, 9), 2)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_opencv_works_in_a_worker_after_its_threads_ran_in_the_parent() -> None:
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    cv2.GaussianBlur(np.zeros((600, 800, 3), np.uint8), (9, 9), 2)
    process = multiprocessing.get_context("fork").Process(target=_resize_in_worker)
    process.start()
    process.join(timeout=20)
    ended = process.exitcode
    process.kill()
    cv2.setNumThreads(before)
    assert ended == 0


def test_small_shared_memory_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = folder(tmp_path)
    make = micro_batch.Make(
        source,
        Telling(),
        Order(count=40, batch=12, accumulate=1, seed=1),
        None,
        most_bad=0,
        senders=2,
    )
    usage = type("Usage", (), {"free": 0})
    packet = make((0, None))
    assert isinstance(packet.views["global"], torch.Tensor)
    size = sum(v.nbytes for v in (packet.views["global"], packet.cues["place"]))
    for free, shared in ((8 * size, False), (8 * size + 1, True)):
        usage.free = free
        monkeypatch.setattr(micro_batch.shutil, "disk_usage", lambda path: usage)
        packet = make((0, None))
        assert isinstance(packet.views["global"], torch.Tensor) == shared
        assert isinstance(packet.index, torch.Tensor) == shared


def test_where_shared_memory_is_small_batches_go_through_a_pipe_and_that_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where there is no memory that is used again."""
    source = folder(tmp_path)
    monkeypatch.setattr(loader, "slots", lambda count, size: None)
    plenty = list(stream(source, 0, 3, workers=1))
    assert not caplog.records
    monkeypatch.setattr(
        micro_batch.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 0})
    )
    piped = list(stream(source, 0, 3, workers=1))
    [said] = [record.getMessage() for record in caplog.records]
    assert "has no room for the batches of 1 workers" in said
    assert "--shm-size" in said
    monkeypatch.undo()
    caplog.clear()
    assert same(piped, list(stream(source, 0, 3)))
    assert same(piped, list(stream(source, 0, 3, workers=1)))
    assert same(piped, plenty)
    assert not caplog.records


def test_the_time_of_reading_and_of_making_views_is_told_apart(tmp_path: Path) -> None:
    source, slow = folder(tmp_path), loader.Spent()
    real = source.open

    def opened(index: int) -> Mapping[str, Stream]:
        time.sleep(0.01)
        return real(index)

    source.open = opened  # type: ignore[method-assign]
    list(stream(source, 0, 1, spent=slow))
    assert slow.reading > 0.12 > slow.making > 0

    class Slow(Telling):
        def make(self, *arguments: Any) -> dict:
            time.sleep(0.1)
            return super().make(*arguments)

    source.open, slow = real, loader.Spent()  # type: ignore[method-assign]
    list(stream(source, 0, 1, spent=slow, pipeline=Slow()))
    assert slow.making > 0.2 > slow.reading > 0


def test_memory_is_pinned_where_there_is_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned: list[tuple[tuple[int, ...], bool]] = []

    def pin(self: torch.Tensor) -> torch.Tensor:
        main = threading.current_thread() is threading.main_thread()
        pinned.append((tuple(self.shape), main))
        return self.clone()

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    source = folder(tmp_path)
    wanted = list(stream(source, 0, 3))
    assert not pinned
    # Workers ask too, and must be told the truth.
    here = os.getpid()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: os.getpid() == here)
    assert same(list(stream(source, 0, 3)), wanted)
    shapes = [(6,), (6, 1), (6, 2, 1, 1, 4)]
    assert sorted(pinned) == sorted((shape, False) for shape in shapes * 6)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Any:
    """How often, in any process, views were made in memory that is used again."""
    count = multiprocessing.Value("i", 0)
    real = packet.rooms

    def rooms(makes: Any, rows: int, memory: Any = None) -> Any:
        if memory is not None:
            with count.get_lock():
                count.value += 1
        return real(makes, rows, memory)

    monkeypatch.setattr(micro_batch, "rooms", rooms)
    return count


@pytest.mark.parametrize("count", [1, 3])
def test_views_are_made_in_memory_that_is_used_again(tmp_path: Path, count: int, told: Any) -> None:
    source = folder(tmp_path)
    wanted = list(stream(source, 0, 20))
    assert told.value == 0
    for place, step in enumerate(stream(source, 0, 20, workers=count)):
        assert same([step], [wanted[place]])
    assert told.value == 40
    addresses = {
        raw.views["global"].data_ptr()
        for step in stream(source, 0, 20, workers=count)
        for raw in step
    }
    assert len(addresses) <= count * workers.AHEAD + 4


def test_batches_that_are_kept_stay_what_they_were(tmp_path: Path, told: Any) -> None:
    """Parts of them too; where all memory is in use, batches are made in new memory and sent."""
    source = folder(tmp_path)
    wanted = list(stream(source, 0, 20))
    assert same(list(stream(source, 0, 20, workers=1)), wanted)
    assert 0 < told.value < 40
    first = [step[1].views["global"][2, 1] for step in stream(source, 0, 20, workers=1)]
    assert all(
        torch.equal(kept, step[1].views["global"][2, 1])
        for kept, step in zip(first, wanted, strict=True)
    )


def test_four_batches_a_worker_are_made_ahead(tmp_path: Path) -> None:
    running = workers.each(lambda item: (tmp_path / str(item)).touch(), range(50), workers=1)
    next(running)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 5 and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.1)
    assert len(list(tmp_path.iterdir())) == 1 + workers.AHEAD == 5


def test_auto_leaves_a_core_to_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    for cores, expected in ((1, 1), (2, 1), (6, 5), (64, 8)):
        monkeypatch.setattr(workers, "cores", lambda cores=cores: cores)
        assert workers.count(-1) == expected
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "16")
    assert workers.count(-1) == 3
    assert workers.count(-1, in_memory=True) == 0
    assert workers.count(5, in_memory=True) == 5
    assert workers.cores() >= 1


def test_families_lie_side_by_side(tmp_path: Path) -> None:
    plan = {"global": Crops(mask=Mask(ratio=0.5)), "local": Crops(size=8, count=3)}
    made = Pipeline(plan, {"image": Fed(Pixels(side=16), (2, 2))})
    source = folder(tmp_path)
    assert packet.packed(made.makes, 1)[1] == (2 * 16 * 16 + 3 * 8 * 8) * 3
    wanted = list(stream(source, 0, 4, pipeline=made))
    for here, there in zip(wanted, stream(source, 0, 4, pipeline=made, workers=1), strict=True):
        assert same([here], [there])
        starts = [raw.views["global"].data_ptr() for raw in there]
        ends = [raw.views["local"].data_ptr() for raw in there]
        assert np.array_equal(np.subtract(ends, starts), [6 * 2 * 16 * 16 * 3] * 2)


def test_families_of_any_size_and_type_share_memory_without_overlap() -> None:
    makes = {
        "odd": Layout(1, (5, 5, 3), np.dtype(np.uint8)),
        "sound": Layout(2, (7,), np.dtype(np.float32)),
        "last": Layout(1, (), np.dtype(np.uint8)),
    }
    areas, size = packet.packed(makes, 3)
    for memory in (None, np.zeros(size, np.uint8)):
        made = packet.rooms(makes, 3, memory)
        for place, (name, layout) in enumerate(makes.items()):
            assert made[name].shape == (3, layout.count, *layout.shape)
            assert made[name].dtype == layout.dtype
            assert areas[name].start % 64 == 0
            made[name][:] = place + 1
        assert all((made[name] == k + 1).all() for k, name in enumerate(makes))


def test_samples_that_are_only_looked_at_are_those_that_can_be_read(tmp_path: Path) -> None:
    source = folder(tmp_path, 5, bad=(3,))
    where, views, cues = direct.seen(source, Telling(), [4, 3, 1], epoch=7)
    assert where == [4, 1]
    assert views["global"][:, 0, 0, 0].tolist() == [[0, 4, 4, 7], [0, 1, 1, 7]]
    assert cues["place"].tolist() == [[40], [10]]
    where, views, cues = direct.seen(source, Telling(), [3])
    assert (where, views["global"].shape, cues) == ([], (0, 2, 1, 1, 4), {})


@pytest.mark.parametrize("dtype", ["int16", "int64", "float16", "float64", "bool"])
def test_views_of_every_type_come_from_workers_as_from_this_process(dtype):
    source = Stored("numbers", np.arange(80, dtype=np.uint8).reshape(40, 1, 1, 2))
    options = {"seed": 1, "global_batch": 8, "start_step": 0, "stop_step": 2, "max_bad": 0.0}
    one, two = (
        list(batches(source, Deep(dtype), workers=n, on_bad=lambda _: None, **options))
        for n in (0, 1)
    )
    for [here], [there] in zip(one, two, strict=True):
        assert str(here.views["global"].dtype) == f"torch.{dtype}"
        assert torch.equal(here.views["global"], there.views["global"])
