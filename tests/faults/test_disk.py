"""A disk that is full, fails or cannot be written."""

import errno
import json
import os
import resource
import shutil
import signal

import pytest

from forks import run
from manyviews.core import Failure
from manyviews.runs.folder.lock import RunDirectory
from manyviews.training import checkpoint, keeper
from manyviews.training.loop import fit
from manyviews.training.settings import Train
from toy import Toy, job


def train(path, *, steps=9, **changes):
    settings = Train(steps=steps, precision="fp32", checkpoint_every=2, log_every=1)
    with RunDirectory(path) as directory:
        return fit(job(directory, Toy(), **{"train": settings, "resume": True} | changes))


def limit_files(size):
    """No file may grow beyond `size` bytes: writes fail as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_training_goes_on_while_the_disk_is_full_and_saves_when_there_is_room(tmp_path, caplog):
    """A real limit of the kernel, put up between steps 3 and 7; in a child process."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def callback(method, clock):
        if clock.step == 3:
            limit_files(600)
        if clock.step == 6:
            folder = tmp_path / "checkpoints"
            assert checkpoint.latest(folder) == folder / "step_2"
            assert not list(folder.glob("*.tmp-*"))
            limit_files(resource.RLIM_INFINITY)
        return {}

    def action():
        outcome = train(tmp_path, after_epoch=[callback])
        assert (outcome.status, outcome.steps) == ("done", 9)

    assert run(action) == 0
    found = {p.name for p in (tmp_path / "checkpoints").iterdir()}
    assert found == {"latest", "step_2", "step_8", "step_9"}  # the newest two, and some of before
    steps = [json.loads(x)["step"] for x in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 10))


def full(monkeypatch, *, when):
    """Syncing fails with ENOSPC while `when()`."""
    sync = checkpoint.sync

    def failing(path):
        if when():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        sync(path)

    monkeypatch.setattr(checkpoint, "sync", failing)


def test_a_save_that_fails_is_a_warning_and_is_tried_again(tmp_path, monkeypatch, caplog):
    steps = []
    full(monkeypatch, when=lambda: len(steps) in (3, 4, 5, 6))

    class Counting(Toy):
        def after_step(self, clock):
            steps.append(clock.step)
            super().after_step(clock)

    settings = Train(steps=9, precision="fp32", checkpoint_every=2)
    with RunDirectory(tmp_path) as directory:
        outcome = fit(job(directory, Counting(), train=settings))
    assert outcome.status == "done"
    said = [r.message for r in caplog.records if "Cannot save" in r.message]
    assert len(said) == 2
    assert "step 4" in said[0]
    assert "No space left on device; step 2 is intact. Training goes on." in said[0]
    assert checkpoint.latest(tmp_path / "checkpoints").name == "step_9"


def test_a_full_disk_at_the_very_end_is_a_failure_that_says_what_to_do(tmp_path, monkeypatch):
    outcomes = []
    full(monkeypatch, when=lambda: len(outcomes) > 0)
    train(tmp_path / "first", steps=4)
    outcomes.append(1)
    with pytest.raises(Failure) as error:
        train(tmp_path / "first", steps=7)
    assert "\n" not in str(error.value)
    assert "Cannot save step 7" in str(error.value)
    assert "No space left on device; step 4 is intact. Make room there, then `manyviews resume" in (
        str(error.value)
    )
    assert checkpoint.latest(tmp_path / "first" / "checkpoints").name == "step_4"


def test_a_disk_that_is_full_from_the_start_is_said_before_the_first_step(tmp_path):
    """A real limit of the kernel, in a child process."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def action():
        method = Toy()
        method.forward = lambda *_: pytest.fail("trained")
        limit_files(600)
        with RunDirectory(tmp_path) as directory, pytest.raises(Failure) as error:
            fit(job(directory, method))
        assert str(error.value) == (
            f"Cannot write the first checkpoint in {tmp_path / 'checkpoints'}: File too large. "
            "Make room there, or give another --out."
        )

    assert run(action) == 0


def test_space_that_comes_back_in_mid_run_is_used_at_the_next_checkpoint(tmp_path):
    """What could not be logged meanwhile is logged then, each line once."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def callback(method, clock):
        if clock.step in (3, 6):
            size = (tmp_path / "metrics.jsonl").stat().st_size
            limit_files(size if clock.step == 3 else resource.RLIM_INFINITY)
        if clock.step == 6:
            assert not (tmp_path / "checkpoints" / "step_4").exists()
        if clock.step == 9:
            assert (tmp_path / "checkpoints" / "step_8").is_dir()
        return {}

    assert run(lambda: train(tmp_path, steps=12, after_epoch=[callback])) == 0
    steps = [json.loads(x)["step"] for x in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 13))


def test_a_folder_that_cannot_be_written_is_a_failure_before_the_first_step(tmp_path, monkeypatch):
    def denied(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(checkpoint, "save_file", denied)
    method = Toy()
    method.forward = lambda *_: pytest.fail("trained")
    with (
        RunDirectory(tmp_path) as directory,
        pytest.raises(Failure, match=r"Read-only file system\. Give a writable --out"),
    ):
        fit(job(directory, method))


def test_little_space_is_a_warning_before_the_first_step(tmp_path, monkeypatch, caplog):
    usage = shutil.disk_usage(tmp_path)
    for free, warned in ((1000, True), (10**9, False)):
        caplog.clear()
        monkeypatch.setattr(keeper.shutil, "disk_usage", lambda _, f=free: usage._replace(free=f))
        train(tmp_path / str(free), steps=1)
        assert ("free. Make room." in caplog.text) == warned


def test_a_metrics_file_that_went_missing_is_begun_anew(tmp_path):
    train(tmp_path, steps=4)
    (tmp_path / "metrics.jsonl").unlink()
    train(tmp_path, steps=6)
    steps = [json.loads(x)["step"] for x in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps == [5, 6]
