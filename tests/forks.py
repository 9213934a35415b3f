"""Child processes by fork: a fault is injected in milliseconds, without importing torch anew.

No test may compute with torch on another thread of the process that forks: MKL can be left with a
lock held (53 of 400 forks after such a thread had ended), which a child then waits for.
"""

import faulthandler
import os
import signal
import time
import traceback
import warnings
from contextlib import suppress
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
import torch.utils.tensorboard

from manyviews.core.inputs import Pixels
from manyviews.data.packet import rooms
from manyviews.views.pipeline import Fed, Pipeline
from manyviews.views.plan import Crops

# What a process loads when it first trains, here once, before forking: the first optimiser imports
# much of torch, the first views much of numba (1.2 of 2.0 core-seconds of a short training).
torch.optim.SGD([torch.zeros(1, requires_grad=True)])
_first = Pipeline({"global": Crops()}, {"image": Fed(Pixels(side=28))}, seed=0)
_first.make(np.zeros((1, 28, 28, 1), np.uint8), np.arange(1), 0, rooms(_first.makes, 1))


def fork(action) -> int:
    """Run `action()` in a child process; its number. It exits 0, or 1 with a traceback."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # "multi-threaded": not in our tests
        child = os.fork()
    if child:
        return child
    code = 1
    faulthandler.register(signal.SIGUSR1, file=2)
    try:
        action()
        code = 0
    except BaseException:  # nothing may get past a fork
        traceback.print_exc()
    finally:
        os._exit(code)


def wait(child: int, *, seconds: float = 120.0) -> int:
    """Exit code of a child, or minus the signal that ended it; kill it if it takes too long, when
    it has said where it is."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        number, status = os.waitpid(child, os.WNOHANG)
        if number:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGUSR1)
    time.sleep(1.0)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError(f"child {child} took longer than {seconds} seconds")


def wait_for(path, *, seconds: float = 120.0) -> None:
    """Wait until a file or folder is there."""
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"no {path} after {seconds} seconds"
        time.sleep(0.01)


def run(action, *, seconds: float = 120.0) -> int:
    """Run `action()` in a child and return how it ended."""
    return wait(fork(action), seconds=seconds)


def run_ranks(world: int, action, *, meeting) -> list[int]:
    """Run `action(rank)` on `world` gloo ranks that meet at the file `meeting`; how each ended."""

    def rank_of(rank):
        def body():
            dist.init_process_group(
                "gloo",
                init_method=f"file://{meeting}",
                rank=rank,
                world_size=world,
                timeout=timedelta(seconds=120),
            )
            action(rank)
            dist.barrier()
            dist.destroy_process_group()

        return body

    children = [fork(rank_of(rank)) for rank in range(world)]
    try:
        return [wait(child) for child in children]
    finally:
        for child in children:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(child, signal.SIGKILL)
