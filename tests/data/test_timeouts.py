"""A file that never answers, a worker that is stopped or killed: training goes on, or says why."""

import contextlib
import os
import signal
import threading
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from pictures import folder_of

from manyviews.core import Failure
from manyviews.core.sample import Layout, Unreadable
from manyviews.data import timeouts
from manyviews.data.loader import batches, once
from manyviews.data.sources import open_source
from manyviews.data.streams.image import read, read_header
from manyviews.data.timeouts import Unanswered, within


@pytest.fixture
def short(monkeypatch):
    """Two seconds are long."""
    monkeypatch.setattr(timeouts, "SECONDS", 2.0)


class Reading:
    """A pipeline of one pixel a view, which does something before it reads."""

    makes: ClassVar = {"global": Layout(1, (1, 1, 1), np.dtype(np.uint8))}

    def __init__(self, before=lambda index: None):
        self.before = before

    def read(self, source, index, epoch):
        self.before(index)
        return source.open(index)["image"].read()

    def stacked(self, source):
        return None

    def make(self, items, index, epoch, into):
        into["global"][:] = np.array([item[0, 0, 0] for item in items])[:, None, None, None, None]
        return {}


def stream(source, stop, **options):
    defaults = {
        "pipeline": Reading(),
        "seed": 1,
        "global_batch": 6,
        "start_step": 0,
        "stop_step": stop,
        "workers": 2,
        "max_bad": 0.1,
        "on_bad": lambda bad: None,
    }
    return batches(source, **(defaults | options))


def source_of(folder, count=24):
    return open_source(str(folder_of(folder, count)), channels=3, max_pixels=10**6)


def index_of(steps):
    return [raw.index.tolist() for step in steps for raw in step]


def blocked(path):
    """What reading a mount does that is gone: nothing, and a signal gets through."""
    os.mkfifo(path)

    def before(index):
        if index == 7:
            Path(path).open("rb").close()

    return before


def test_a_named_pipe_is_no_image_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    for reads in (lambda path: read(path, channels=3, max_pixels=100), read_header):
        with pytest.raises(Unreadable, match="is no regular file"):
            reads(str(tmp_path / "a.png")) if reads is not read_header else read_header(
                str(tmp_path / "a.png"), max_pixels=100
            )


def test_a_named_pipe_in_the_place_of_an_image_is_replaced_by_the_next(tmp_path):
    source = source_of(tmp_path)
    (tmp_path / "0007.png").unlink()
    os.mkfifo(tmp_path / "0007.png")
    met = []
    steps = list(stream(source, 4, on_bad=met.append))
    assert [bad.reason for bad in met] == ["is no regular file"]
    assert not any(7 in row for row in index_of(steps))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_pass_over_all_files_does_not_wait_for_one_that_never_answers(tmp_path, short, workers):
    source, met = source_of(tmp_path), []
    pipeline = Reading(blocked(tmp_path / "pipe"))
    raws = once(
        source, pipeline, range(4, 15), batch=2, workers=workers, max_bad=0.1, on_bad=met.append
    )
    found = [raw.index.tolist() for raw in raws]
    assert found == [[4, 5], [6], [8, 9], [10, 11], [12, 13], [14]]
    assert [bad.path for bad in met] == [source.name(7)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_never_answers_is_named_and_left_out_from_then_on(tmp_path, short, workers):
    source, met = source_of(tmp_path), []
    pipeline = Reading(blocked(tmp_path / "pipe"))
    began = time.monotonic()
    steps = list(stream(source, 16, pipeline=pipeline, workers=workers, on_bad=met.append))
    assert [(bad.path, bad.reason) for bad in met] == [
        (source.name(7), "did not answer within 2 s")
    ]
    assert not any(7 in row for row in index_of(steps))
    assert time.monotonic() - began < 8  # once a worker, in four epochs
    plain = index_of(stream(source, 16, workers=0))
    assert index_of(steps) == [[8 if i == 7 else i for i in row] for row in plain]


def test_a_worker_that_cannot_be_interrupted_is_replaced_and_the_file_named(
    tmp_path, short, caplog
):
    """As one whom the system does not let go of a file."""
    source, met = source_of(tmp_path), []

    def before(index):
        if index == 7:
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            time.sleep(600)

    steps = list(stream(source, 4, pipeline=Reading(before), on_bad=met.append))
    assert [bad.reason for bad in met] == ["did not answer within 2 s"]
    assert "did not get on. All are started anew." in caplog.text
    plain = index_of(stream(source, 4, workers=0))
    assert index_of(steps) == [[8 if i == 7 else i for i in row] for row in plain]


def test_a_stopped_worker_is_replaced_and_nothing_is_lost(tmp_path, short, caplog):
    source, met = source_of(tmp_path), []
    flag = tmp_path / "stopped"

    def before(index):
        if index == 7 and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGSTOP)

    steps = index_of(stream(source, 4, pipeline=Reading(before), on_bad=met.append))
    assert "was stopped. All are started anew." in caplog.text
    assert steps == index_of(stream(source, 4, workers=0))
    assert not met  # the file is not to blame


def test_workers_that_never_get_on_are_a_failure_in_the_end(tmp_path, short):
    def before(index):
        os.kill(os.getpid(), signal.SIGSTOP)

    with pytest.raises(Failure, match="4 times in a row without a result") as caught:
        list(stream(source_of(tmp_path), 4, pipeline=Reading(before), workers=1))
    assert "\n" not in str(caught.value)


def test_a_worker_that_dies_while_nobody_waits_raises_nothing_there(tmp_path):
    """torch's handler of SIGCHLD would raise wherever the main thread is: in mid-step."""
    source = source_of(tmp_path)
    pids = tmp_path / "pids"

    def before(index):
        if not pids.exists():
            pids.write_text(str(os.getpid()))

    running = stream(source, 10**6, pipeline=Reading(before))
    next(running)
    handler = signal.getsignal(signal.SIGCHLD)
    os.kill(int(pids.read_text()), signal.SIGKILL)
    time.sleep(0.5)  # the training step
    with pytest.raises(Failure, match="A decoding process died"):
        for _ in running:
            pass
    assert signal.getsignal(signal.SIGCHLD) == handler


def test_time_that_passes_while_all_is_stopped_does_not_count(short):
    """Ctrl-Z: the timer has run out when we go on, and that is one tick of ten."""
    with within():
        os.kill(os.getpid(), signal.SIGALRM)
        time.sleep(0.3)


def test_the_limit_holds_against_what_catches_everything(short):
    def stubborn():
        with within():
            for _ in range(2):
                with contextlib.suppress(Exception):
                    time.sleep(30)
            time.sleep(30)

    with pytest.raises(Unanswered):
        stubborn()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_timer_of_someone_else_is_left_alone():
    signal.setitimer(signal.ITIMER_REAL, 1000)
    with within():
        pass
    assert signal.getitimer(signal.ITIMER_REAL)[0] > 900
    signal.setitimer(signal.ITIMER_REAL, 0)


def test_off_the_main_thread_there_is_no_limit_and_no_error():
    errors = []

    def inside():
        try:
            with within():
                pass
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert not errors
