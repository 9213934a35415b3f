import fcntl
import json
import logging
import os
import signal
import time

import pytest

from forks import fork, run
from manyviews.core import Failure
from manyviews.runs.folder.lock import RunDirectory
from manyviews.training.metrics import Events, Metrics


def hold(path, *, orphan=False):
    """A process that holds the lock and never lets go by itself; and its child, if asked for."""
    read, write = os.pipe()

    def action():
        with RunDirectory(path):
            child = fork(lambda: time.sleep(60)) if orphan else 0
            os.write(write, f"{child}\n".encode())
            time.sleep(60)

    holder = fork(action)
    os.close(write)
    with os.fdopen(read) as pipe:
        return holder, int(pipe.readline())


def kill(process):
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


def test_a_second_process_is_refused_by_name_and_a_killed_one_leaves_no_lock(tmp_path):
    holder, _ = hold(tmp_path)
    with pytest.raises(Failure, match=f"is in use by process {holder}. Wait for it") as error:
        RunDirectory(tmp_path).__enter__()
    assert "\n" not in str(error.value)
    kill(holder)
    with RunDirectory(tmp_path):
        pass


def test_an_orphaned_data_worker_does_not_hold_the_lock(tmp_path):
    holder, orphan = hold(tmp_path, orphan=True)
    kill(holder)
    os.kill(orphan, 0)  # it lives
    try:
        with RunDirectory(tmp_path):
            pass
    finally:
        os.kill(orphan, signal.SIGKILL)


def test_a_forked_child_leaves_the_parents_lock_in_place(tmp_path):
    with RunDirectory(tmp_path):
        number = os.open(tmp_path / "lock", os.O_RDWR)
        assert run(lambda: None) == 0
        with pytest.raises(BlockingIOError):
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(number)


def test_two_in_one_process_are_refused_too(tmp_path):
    with RunDirectory(tmp_path), pytest.raises(Failure, match=f"process {os.getpid()}"):
        RunDirectory(tmp_path).__enter__()


@pytest.mark.parametrize("under", ["a file", "proc"])
def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, under):
    (tmp_path / "file").write_text("")
    path = "/proc/manyviews" if under == "proc" else tmp_path / "file" / "run"
    with pytest.raises(Failure, match=r"^Cannot write to .*: .*\. Give a writable --out\.$"):
        RunDirectory(path).__enter__()


def test_messages_go_to_the_log_while_it_is_open(tmp_path):
    log = logging.getLogger("manyviews")
    with RunDirectory(tmp_path):
        log.warning("inside")
    log.warning("outside")
    text = (tmp_path / "log.txt").read_text()
    assert "WARNING inside" in text
    assert "outside" not in text


def test_numbers_are_written_in_full_and_nan_as_null(tmp_path):
    with RunDirectory(tmp_path) as directory:
        directory.metrics("train", {"step": 1, "loss": 1 / 3, "bad": float("nan")})
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line) == {"kind": "train", "step": 1, "loss": 1 / 3, "bad": None}


def test_cutting_drops_what_came_after_and_half_lines(tmp_path):
    metrics = Metrics(tmp_path / "m")
    metrics.write("a", {"step": 1})
    size = metrics.size()
    metrics.write("a", {"step": 2})
    metrics.cut(size)
    metrics.write("a", {"step": 3})
    metrics.cut(metrics.size() - 2)
    metrics.write("a", {"step": 4})
    metrics.close()
    steps = [json.loads(x)["step"] for x in (tmp_path / "m").read_text().splitlines()]
    assert steps == [1, 4]


def test_lines_wait_while_the_disk_is_full_and_none_is_torn(tmp_path, monkeypatch, caplog):
    metrics = Metrics(tmp_path / "m")
    metrics.write("a", {"step": 1})
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda n, data, at: write(n, data[:5], at))  # short writes
    metrics.write("a", {"step": 2})
    metrics.write("a", {"step": 3})
    assert len((tmp_path / "m").read_text().splitlines()) == 1
    assert caplog.text.count("No space left on device. Training goes on.") == 1
    monkeypatch.setattr(os, "pwrite", write)
    metrics.write("a", {"step": 4})
    metrics.close()
    steps = [json.loads(x)["step"] for x in (tmp_path / "m").read_text().splitlines()]
    assert steps == [1, 2, 3, 4]


def test_tensorboard_is_never_needed(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    events = Events(tmp_path / "tb", step=0)
    events.write("train", 1, {"loss": 1.0})
    events.close()
    assert not (tmp_path / "tb").exists()
