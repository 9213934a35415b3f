"""A run that was stopped or killed, at whatever moment, ends bit for bit as one that was not."""

import json
import os
import random
import signal
import time

import pytest
import torch
from safetensors.torch import load_file

from forks import fork, run, wait, wait_for
from manyviews.runs.folder.lock import RunDirectory
from manyviews.training import checkpoint
from manyviews.training.loop import fit
from manyviews.training.settings import Optim, Train
from toy import Toy, batches, job

TIMES = {"seconds", "images_per_second", "data_wait"}
STEPS = 12


def train(path, *, steps=STEPS, every=4, name="adamw", accumulate=1, **changes):
    """Train, or go on with it if there is something to go on from."""
    settings = Train(
        steps=steps,
        precision="fp32",
        log_every=1,
        checkpoint_every=every,
        accumulate=accumulate,
        health_every=2,
    )
    changes = {
        "method": Toy(),
        "train": settings,
        "optim": Optim(name=name, lr=0.05, lr_per=0, warmup=0.1),
        "probe": lambda method, clock: {"accuracy": method.queue.sum().item()},
        "resume": True,
        # the schedules look at `total`, so the first half must know of the whole
        **changes,
    }
    with RunDirectory(path) as directory:
        return fit(job(directory, changes.pop("method"), **changes))


def interrupted(path, after, **settings):
    """Train, and stop as if by a signal once `after` steps are done."""

    class Stopping(Toy):
        def forward(self, batch, clock):
            if clock.step == after - 1:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().forward(batch, clock)

    outcome = train(path, method=Stopping(), **settings)
    assert (outcome.status, outcome.steps, outcome.message) == ("interrupted", after, "SIGTERM")


def ending(path, steps=STEPS):
    """All tensors of the last checkpoint, and the log without times."""
    folder = path / "checkpoints" / f"step_{steps}"
    tensors = {
        f"{file}:{name}": tensor
        for file in ("method", "optimizer")
        for name, tensor in load_file(folder / f"{file}.safetensors").items()
    }
    found = [json.loads(x) for x in (path / "metrics.jsonl").read_text().splitlines()]
    return tensors, [{k: v for k, v in line.items() if k not in TIMES} for line in found]


def assert_equal(path, reference, steps=STEPS):
    (a, log_a), (b, log_b) = ending(path, steps), ending(reference, steps)
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name
    assert log_a == log_b


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    path = tmp_path_factory.mktemp("reference")
    train(path)
    return path


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("name", ["sgd", "lars", "larc", "adamw"])
def test_a_stopped_run_continues_bit_for_bit(tmp_path, name, accumulate):
    settings = {"name": name, "accumulate": accumulate}
    train(tmp_path / "whole", **settings)
    interrupted(tmp_path / "halves", 5, **settings)
    train(tmp_path / "halves", **settings)
    assert_equal(tmp_path / "halves", tmp_path / "whole")


@pytest.mark.parametrize("after", [1, 3, 6, 11, 12])
def test_it_may_be_stopped_after_any_step(tmp_path, reference, after):
    """3 and 6 are ends of epochs, with a probe and a new epoch due."""
    interrupted(tmp_path, after)
    outcome = train(tmp_path)
    assert (outcome.status, outcome.steps) == ("done", STEPS)
    assert_equal(tmp_path, reference)


def test_it_may_be_stopped_again_and_again(tmp_path, reference):
    for after in (2, 3, 7, 8, 12):
        interrupted(tmp_path, after)
    train(tmp_path)
    assert_equal(tmp_path, reference)


def test_it_may_be_stopped_while_waiting_for_data_at_the_start_of_an_epoch(tmp_path, reference):
    """The method's start of the epoch has been run then, and must not be run twice."""

    def stream(start, stop):
        for step, batch in enumerate(batches()(start, stop), start):
            if step == 6:
                os.kill(os.getpid(), signal.SIGTERM)
                raise AssertionError("still waiting")
            yield batch

    outcome = train(tmp_path, batches=stream)
    assert (outcome.status, outcome.steps) == ("interrupted", 6)
    train(tmp_path)
    assert_equal(tmp_path, reference)


def test_it_may_be_killed_at_any_moment(tmp_path, reference):
    """kill -9 at random moments until it gets through; whole files only, equal at the end."""
    chance = random.Random(0)

    class Mortal(Toy):
        def forward(self, batch, clock):
            self.die()
            out = super().forward(batch, clock)
            self.die()
            return out

        def after_step(self, clock):
            self.die()
            super().after_step(clock)
            self.die()

        def die(self):
            if chance.random() < 0.06:
                os.kill(os.getpid(), signal.SIGKILL)

    ends = []
    while 0 not in ends:
        assert len(ends) < 60
        chance.seed(len(ends))
        ends.append(run(lambda: train(tmp_path, method=Mortal(), every=2)))
    assert ends.count(-signal.SIGKILL) >= 3
    assert_equal(tmp_path, reference)


def calls_that_write(path):
    """How often a training of 2 steps syncs, renames or replaces."""
    counter = [0]
    with pytest.MonkeyPatch.context() as patch:
        count_writes(patch, lambda: counter.__setitem__(0, counter[0] + 1))
        train(path, steps=2, every=2)
    return counter[0]


def count_writes(patch, before):
    """Call `before()` ahead of everything that makes a checkpoint durable or visible."""
    path = checkpoint.Path
    for owner, name in ((checkpoint, "sync"), (path, "rename"), (path, "replace")):
        original = getattr(owner, name)

        def wrapped(*args, original=original):
            before()
            return original(*args)

        patch.setattr(owner, name, wrapped)


def test_it_may_be_killed_anywhere_in_the_writing_of_a_checkpoint(tmp_path):
    """Before each sync and rename in turn; what is left always loads and ends the same."""
    train(tmp_path / "whole", steps=2, every=2)
    writes = calls_that_write(tmp_path / "counted")
    assert writes >= 20
    for n in range(1, writes + 1):
        path = tmp_path / str(n)

        def killed(n=n, path=path):
            left = [n]

            def countdown():
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

            with pytest.MonkeyPatch.context() as patch:
                count_writes(patch, countdown)
                train(path, steps=2, every=2)

        assert run(killed) == -signal.SIGKILL, n
        for found in (path / "checkpoints").glob("step_*"):
            if ".tmp-" not in found.name:
                checkpoint.verify(found)
        train(path, steps=2, every=2)
        assert_equal(path, tmp_path / "whole", steps=2)
        assert not list((path / "checkpoints").glob("*.tmp-*"))


def test_the_newest_checkpoint_damaged_the_one_before_ends_the_same(tmp_path, reference, caplog):
    interrupted(tmp_path, 9)
    weights = tmp_path / "checkpoints" / "step_9" / "method.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(content)
    train(tmp_path)
    assert f"{weights} has sha256" in caplog.text
    assert "going back to the one before" in caplog.text
    assert_equal(tmp_path, reference)


def test_skips_and_rewinds_are_repeated_by_a_resumed_run(tmp_path):
    """Killed after a rewind: the counts of the guard continue as well."""
    poison = {s: "loss" for s in (2, 6, 7, 8)}
    train(tmp_path / "whole", method=Toy(poison=poison))

    class Dying(Toy):
        def after_step(self, clock):
            super().after_step(clock)
            if clock.step == 10:
                os.kill(os.getpid(), signal.SIGKILL)

    path = tmp_path / "killed"
    assert run(lambda: train(path, method=Dying(poison=poison))) == -signal.SIGKILL
    outcome = train(path, method=Toy(poison=poison))
    assert (outcome.skipped, outcome.rewinds) == (4, 1)
    assert_equal(path, tmp_path / "whole")


def test_a_moved_run_resumes(tmp_path, reference):
    interrupted(tmp_path / "here", 5)
    (tmp_path / "here").rename(tmp_path / "there")
    train(tmp_path / "there")
    assert_equal(tmp_path / "there", reference)


def test_the_log_of_a_finished_run_stays_as_it_is(tmp_path, reference):
    before = (reference / "metrics.jsonl").read_bytes()
    outcome = train(reference)
    assert outcome.status == "done"
    kept = (reference / "metrics.jsonl").read_bytes()
    assert [json.loads(x)["step"] for x in kept.splitlines()] == [
        json.loads(x)["step"] for x in before.splitlines()
    ]


def test_a_killed_run_leaves_no_lock(tmp_path):
    child = fork(lambda: train(tmp_path, batches=forever))
    wait_for(tmp_path / "checkpoints" / "step_0")
    os.kill(child, signal.SIGKILL)
    assert wait(child) == -signal.SIGKILL
    with RunDirectory(tmp_path):
        pass


def forever(start, stop):
    """Data that never come."""
    while True:
        time.sleep(0.01)
        if start < 0:
            yield []
