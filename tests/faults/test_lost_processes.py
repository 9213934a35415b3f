"""A decoding process or a rank that is killed: one sentence, and what was trained is saved."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from forks import fork, run_ranks, wait
from manyviews.core import Failure, comm
from manyviews.core.errors import out_of_memory
from manyviews.data import workers
from manyviews.runs.folder.lock import RunDirectory
from manyviews.training import launch, loop
from manyviews.training.settings import Train
from toy import Toy, batches, job


def train(path, method, **changes):
    settings = Train(steps=12, precision="fp32", log_every=1, checkpoint_every=100)
    with RunDirectory(path) as directory:
        return loop.fit(job(directory, method, **{"train": settings, "resume": True} | changes))


def ending(path):
    return load_file(path / "checkpoints" / "step_12" / "method.safetensors")


def by_a_worker(start, stop):
    """The toy's batches, made by a process."""
    return workers.each(lambda step: next(batches()(step, step + 1)), range(start, stop), workers=1)


def children():
    path = Path(f"/proc/self/task/{os.getpid()}/children")
    return [int(pid) for pid in path.read_text().split()]


class Killing(Toy):
    """Kills all child processes in the middle of step 5."""

    def forward(self, batch, clock):
        step = super().forward(batch, clock)
        if clock.step == 5:
            for child in children():
                os.kill(child, signal.SIGKILL)
            torch.ones(300, 300).mm(torch.ones(300, 300))  # some time in which a handler could run
        return step


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")
def test_a_worker_killed_in_mid_step_is_one_sentence_and_all_is_saved(tmp_path):
    def action():
        with pytest.raises(Failure) as error:
            train(tmp_path / "cut", Killing(), batches=by_a_worker)
        said = str(error.value)
        assert said.startswith("A decoding process died ("), said
        saved = int(said.partition(" Step ")[2].split()[0])
        assert f"`manyviews resume {tmp_path / 'cut'}` goes on from there." in said
        assert "\n" not in said
        assert saved >= 6, said
        assert (tmp_path / "cut" / "checkpoints" / f"step_{saved}").is_dir()

    assert wait(fork(action)) == 0
    for name in ("cut", "whole"):
        train(tmp_path / name, Toy())
    cut, whole = ending(tmp_path / "cut"), ending(tmp_path / "whole")
    assert all(torch.equal(cut[name], whole[name]) for name in whole)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_workers_of_a_killed_training_end(tmp_path, size):
    """Also one that is writing what fits into no pipe, and has no reader any more."""
    told = tmp_path / "worker"

    def action():
        made = workers.each(lambda step: bytes(size), range(99), workers=1)
        next(made)
        told.write_text(str(children()[0]))
        os.kill(os.getpid(), signal.SIGKILL)

    assert wait(fork(action)) == -signal.SIGKILL
    end = time.monotonic() + 30
    while cmdline(told.read_text()):
        assert time.monotonic() < end, "it is still there"
        time.sleep(0.1)


def cmdline(pid):
    """Of a process; "" of one that has ended and waits to be reaped."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_what_else_the_data_complain_of_is_saved_before_too(tmp_path):
    def broken(start, stop):
        yield from batches()(start, 4)
        raise Failure("3 of 200 files cannot be read.")

    with pytest.raises(Failure) as error:
        train(tmp_path, Toy(), batches=broken)
    assert str(error.value) == (
        "3 of 200 files cannot be read. Step 4 is saved: `manyviews resume "
        f"{tmp_path}` goes on from there."
    )
    assert (tmp_path / "checkpoints" / "step_4").is_dir()


class Dying(Toy):
    """Rank 1 is killed in mid-step; "hook" says whether in the forward or after the optimiser."""

    def __init__(self, *, hook):
        super().__init__()
        self.hook = hook

    def forward(self, batch, clock):
        step = super().forward(batch, clock)
        if not self.hook:
            self.die(clock)
        return step

    def after_step(self, clock):
        super().after_step(clock)
        if self.hook:
            self.die(clock)
            comm.total(torch.ones(()))

    def die(self, clock):
        if comm.rank() == 1 and clock.step == 5:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("hook", [False, True])
def test_a_killed_rank_is_our_sentence_and_the_last_whole_step_is_saved(tmp_path, hook):
    """Batch norm is on: the forward that could not end has written statistics, which go back."""
    settings = Train(steps=9, precision="fp32", log_every=1, checkpoint_every=4)

    def action(rank):
        stream = batches(rank=rank, world=2)
        with RunDirectory(tmp_path / "run") as directory:
            spec = job(directory, Dying(hook=hook), train=settings, batches=stream, resume=True)
            with pytest.raises(Failure) as error:
                loop.fit(spec)
        (tmp_path / f"said{rank}").write_text(str(error.value))
        os._exit(0)  # no last barrier: the other one is gone

    assert run_ranks(2, action, meeting=tmp_path / "meeting") == [0, -signal.SIGKILL]
    saved = 4 if hook else 5
    assert (tmp_path / "said0").read_text() == (
        f"{launch.LOST} Step {saved} is saved: `manyviews resume {tmp_path / 'run'}` goes on from "
        "there."
    )
    folder = tmp_path / "run" / "checkpoints" / f"step_{saved}"
    whole = load_file(folder / "method.safetensors")
    assert whole["online.2.num_batches_tracked"] == saved


@pytest.mark.parametrize(
    ("said", "lost"),
    [
        ("[../gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:5", True),
        ("NCCL error: remote process exited or there was a network error", True),
        ("The size of tensor a (3) must match the size of tensor b (4)", False),
    ],
)
def test_only_the_words_of_a_lost_connection_count(monkeypatch, said, lost):
    monkeypatch.setattr(comm, "world_size", lambda: 2)
    assert launch.is_of_a_lost_rank(RuntimeError(said)) == lost
    assert not launch.is_of_a_lost_rank(ValueError(said))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_memory_that_runs_out_is_a_sentence_and_all_is_saved(tmp_path, error):
    class Greedy(Toy):
        def forward(self, batch, clock):
            step = super().forward(batch, clock)
            if clock.step == 5:
                raise error
            return step

    with pytest.raises(Failure, match=r"^Not enough memory\. .* Step 5 is saved: `manyviews res"):
        train(tmp_path / "cut", Greedy())
    for name in ("cut", "whole"):
        train(tmp_path / name, Toy())
    cut, whole = ending(tmp_path / "cut"), ending(tmp_path / "whole")
    assert all(torch.equal(cut[name], whole[name]) for name in whole)
    assert not out_of_memory(RuntimeError("shapes differ"))


LIMITED = """
import resource, sys
from manyviews.verbs import cli
import manyviews.runs.train, manyviews.recipes
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (768 << 20),) * 2)  # views are still compiled
cli.main(sys.argv[1:])
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_a_limit_of_addresses_is_a_sentence(tmp_path):
    """`ulimit -v`, set once all is imported."""
    flags = ["--train.steps", "2", "--data.workers", "0", "--data.batch-size", "8192"]
    told = [sys.executable, "-c", LIMITED, "train", "simclr", "--data", "builtin:fashion"]
    result = subprocess.run(
        [*told, "--out", str(tmp_path / "run"), *flags],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 1
    assert "manyviews: Not enough memory. Use a smaller --data.batch-size" in result.stderr
    assert "Traceback" not in result.stderr
