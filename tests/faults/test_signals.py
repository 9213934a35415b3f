"""SIGTERM and SIGINT: finish, save, and give the handlers back."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

import manyviews
from forks import fork, run, wait, wait_for
from manyviews.data import workers
from manyviews.runs import report
from manyviews.runs.folder.lock import RunDirectory
from manyviews.training import checkpoint
from manyviews.training.loop import fit
from manyviews.training.settings import Train
from manyviews.training.signals import Stop, Waited
from toy import Toy, batches, job

SHORT = {
    "encoder.width": 8,
    "method.hidden": 16,
    "method.out": 8,
    "data.batch_size": 8,
    "train.steps": 2,
    "train.precision": "fp32",
}
SETTINGS = Train(steps=500, precision="fp32", checkpoint_every=1000)


def train(path, method=None, **changes):
    with RunDirectory(path) as directory:
        return fit(job(directory, method or Toy(), **{"train": SETTINGS, "resume": True} | changes))


class Signalling(Toy):
    """Sends itself a signal in the middle of a forward."""

    def __init__(self, number, step):
        super().__init__()
        self.number, self.at = number, step

    def forward(self, batch, clock):
        if clock.step == self.at:
            os.kill(os.getpid(), self.number)
        return super().forward(batch, clock)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_step_saves_and_stops(tmp_path, number, caplog):
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    outcome = train(tmp_path, Signalling(number, 5))
    assert (outcome.status, outcome.steps) == ("interrupted", 6)
    assert outcome.message == signal.Signals(number).name
    assert (tmp_path / "checkpoints" / "step_6").is_dir()
    assert f"Stopped after step 6, which is saved: {outcome.message}." in caplog.text
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before


def test_handlers_are_given_back_after_an_error_too(tmp_path):
    before = signal.getsignal(signal.SIGTERM)

    def broken(start, stop):
        raise ValueError("broken")
        yield

    with pytest.raises(ValueError, match="broken"):
        train(tmp_path, batches=broken)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_during_the_probe_stops_after_it(tmp_path):
    def probe(method, clock):
        os.kill(os.getpid(), signal.SIGTERM)
        return {"accuracy": 0.5}

    outcome = train(tmp_path, probe=probe)
    assert (outcome.status, outcome.steps) == ("interrupted", 3)
    assert "accuracy" in (tmp_path / "metrics.jsonl").read_text()


def test_a_signal_while_waiting_for_data_does_not_wait_for_them(tmp_path):
    def slow(start, stop):
        time.sleep(60)
        yield []

    child = fork(lambda: train(tmp_path, batches=slow))
    wait_for(tmp_path / "checkpoints" / "step_0")
    time.sleep(0.2)
    os.kill(child, signal.SIGTERM)
    assert wait(child, seconds=30) == 0


def test_a_second_sigint_ends_the_process_at_once(tmp_path):
    class Stuck(Toy):
        def forward(self, batch, clock):
            (tmp_path / "stuck").touch()
            time.sleep(60)

    child = fork(lambda: train(tmp_path / "run", Stuck()))
    wait_for(tmp_path / "stuck")
    os.kill(child, signal.SIGINT)
    time.sleep(0.02)
    os.kill(child, signal.SIGINT)  # the same key press, sent on by torchrun
    time.sleep(0.7)
    assert os.waitpid(child, os.WNOHANG) == (0, 0)
    os.kill(child, signal.SIGINT)
    assert wait(child, seconds=30) == -signal.SIGINT  # half of what it would sleep
    assert (tmp_path / "run" / "checkpoints" / "step_0").is_dir()


def test_training_off_the_main_thread_takes_no_signals_and_works(tmp_path):
    """In a child: MKL may keep a lock of a thread that has ended, and later forks inherit it."""

    def action():
        before = signal.getsignal(signal.SIGTERM)
        outcomes = []
        settings = Train(steps=2, precision="fp32")
        thread = threading.Thread(target=lambda: outcomes.append(train(tmp_path, train=settings)))
        thread.start()
        thread.join(timeout=30)
        assert outcomes[0].status == "done"
        assert signal.getsignal(signal.SIGTERM) is before

    assert run(action) == 0


def test_waiting_is_left_at_once_when_a_signal_came_before_it():
    with Stop() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.asked == "SIGTERM"
        with pytest.raises(Waited), stop.interruptible():
            pytest.fail("waited")


def test_a_second_sigterm_is_no_reason_to_hurry():
    with Stop() as stop:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.asked == "SIGTERM"


@pytest.mark.parametrize("when", [1, 3, 5])
def test_a_signal_while_saving_lets_the_save_end_and_stops_there(tmp_path, monkeypatch, when):
    """Before the first, the third and the last sync of step 3's checkpoint."""
    sync, calls = checkpoint.sync, []

    def signalled(path):
        if "step_3" in str(path):
            calls.append(path)
            if len(calls) == when:
                os.kill(os.getpid(), signal.SIGTERM)
        sync(path)

    monkeypatch.setattr(checkpoint, "sync", signalled)
    settings = Train(steps=500, precision="fp32", checkpoint_every=3, keep=5)
    outcome = train(tmp_path, train=settings)
    assert (outcome.status, outcome.steps, len(calls)) == ("interrupted", 3, 5)
    for step in (0, 3):
        checkpoint.verify(tmp_path / "checkpoints" / f"step_{step}")
    assert not list((tmp_path / "checkpoints").glob("*.tmp-*"))


def test_a_signal_in_the_last_evaluation_ends_it_and_resume_does_the_rest(tmp_path, monkeypatch):
    """Training is over and saved then; the page and the encoder's file are made by `resume`."""

    def action():
        monkeypatch.setattr(report, "write", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        manyviews.train("simclr", data="builtin:fashion", out=tmp_path / "run", overrides=SHORT)

    assert run(action) == -signal.SIGTERM
    assert not (tmp_path / "run" / "report.html").exists()

    def again():
        assert manyviews.resume(tmp_path / "run").steps == 2

    assert run(again) == 0
    assert (tmp_path / "run" / "report.html").is_file()
    assert (tmp_path / "run" / "encoder.safetensors").is_file()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")
def test_a_second_sigint_leaves_no_worker_behind(tmp_path):
    """They see within 5 s that their parent is gone."""

    class Stuck(Toy):
        def forward(self, batch, clock):
            path = Path(f"/proc/self/task/{os.getpid()}/children")
            (tmp_path / "children").write_text(path.read_text())
            (tmp_path / "stuck").touch()
            time.sleep(60)

    def by_workers(start, stop):
        return workers.each(
            lambda step: next(batches()(step, step + 1)), range(start, stop), workers=2
        )

    child = fork(lambda: train(tmp_path / "run", Stuck(), batches=by_workers))
    wait_for(tmp_path / "stuck")
    for _ in range(2):
        os.kill(child, signal.SIGINT)
        time.sleep(0.7)
    assert wait(child, seconds=20) == -signal.SIGINT
    left = [Path("/proc") / number for number in (tmp_path / "children").read_text().split()]
    assert len(left) == 2
    end = time.monotonic() + 20
    while any(alive(path) for path in left):
        assert time.monotonic() < end, left
        time.sleep(0.1)


def alive(process):
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
