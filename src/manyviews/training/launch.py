"""Where to compute, on how many ranks, with which random numbers."""

import inspect
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from manyviews.core import Failure, Method, comm

_MASK = (1 << 64) - 1
_GONE = (
    *("Connection closed by peer", "Connection reset by peer", "Broken pipe", "pair closure"),
    "remote process exit",
)
"""What gloo and NCCL say when another rank is gone."""


LOST = (
    "Another rank ended without a word: it was killed, or its machine or network failed. Often "
    "memory ran out; look at the system's log."
)


class SaidElsewhere(Failure):
    """Another rank has said what went wrong; this one need not."""


def device() -> torch.device:
    """This rank's own GPU, or the CPU where there is none."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


@contextmanager
def ranks(where: torch.device) -> Generator[None]:
    """Join the other ranks if torchrun started us; leave them at the end.

    The time-out is long because ranks wait while rank 0 evaluates.

    Raises:
        SaidElsewhere: in place of any error that came after another rank's, for which that one is
            the cause or the same mistake.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or dist.is_initialized():
        yield
        return
    if where.type == "cuda":
        torch.cuda.set_device(where)
    backend = "nccl" if where.type == "cuda" else "gloo"
    store, rank, world = next(rendezvous("env://"))
    dist.init_process_group(
        backend, store=store, rank=rank, world_size=world, timeout=timedelta(hours=2)
    )
    try:
        _meet(store, world)
        yield
    except Exception as error:
        if not _first(store):
            raise SaidElsewhere("Another rank has said what went wrong.") from error
        if is_of_a_lost_rank(error):
            raise Failure(LOST) from error
        raise
    finally:
        dist.destroy_process_group()


def is_of_a_lost_rank(error: BaseException) -> bool:
    """Whether a collective failed because another rank is gone; only the words tell."""
    if comm.world_size() == 1 or not isinstance(error, RuntimeError):
        return False
    return any(word in str(error) for word in _GONE)


def _meet(store: Store, world: int, *, seconds: float = 600.0) -> None:
    """Wait until every rank has joined: one that leaves at once would break another's joining.

    Raises:
        Failure: some rank does not come.
    """
    end = time.monotonic() + seconds
    try:
        here = store.add("met", 1)
        while here < world:
            if time.monotonic() > end:
                raise Failure(f"Only {here} of {world} ranks have started. Look at their logs.")
            time.sleep(0.01)
            here = store.add("met", 0)
    except RuntimeError:
        return  # the rank that held the store met all others, and has left since


def _first(store: Store) -> bool:
    """Whether no other rank asked before; if the store is gone, so is the rank that held it."""
    try:
        return store.add("failed", 1) == 1
    except RuntimeError:
        return False


def wrap(method: Method) -> nn.Module:
    """What the loop calls: the method, with gradients averaged over ranks if there are several.

    Buffers are rank 0's at the start and never broadcast again: the method keeps them equal.
    """
    if comm.world_size() == 1:
        return method
    for buffer in method.buffers():
        comm.broadcast(buffer)
    known = inspect.signature(DistributedDataParallel).parameters
    # torch 2.15 renamed the option and warns at the old name; 2.11 knows only the old one.
    option = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    return cast(Any, DistributedDataParallel)(method, **{option: False})


def mix(*numbers: int) -> int:
    """A well-spread 63-bit hash of integers: splitmix64's finaliser, chained.

    Source: Steele, Lea, Flood 2014, Fast splittable pseudorandom number generators.
    """
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state >> 1


def seed_step(seed: int, step: int) -> None:
    """Make this step's random numbers a function of (seed, step, rank), so none need be saved."""
    torch.manual_seed(mix(seed, step, comm.rank()))


def seed_epoch(seed: int, step: int) -> None:
    """The same on every rank, for what ranks must agree on (re-clustering)."""
    torch.manual_seed(mix(seed, step, -1))
