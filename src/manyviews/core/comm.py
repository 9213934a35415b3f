"""Collectives that are the identity on one process, so no caller asks how many ranks there are.

With `DistributedDataParallel` averaging gradients, a loss that each rank means over its own
anchors but that reads gathered tensors gives exactly the gradient of one process on the whole
batch. torch's own differentiable all_gather gives silently wrong gradients on gloo when the
incoming gradient is not contiguous, hence our own functions.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of ranks; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's rank; 0 without a process group."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def gather(x: Tensor) -> Tensor:
    """[B, ...] -> [W*B, ...] in rank order. Gradients reach every rank's rows."""
    return _Gather.apply(x) if world_size() > 1 else x  # pyright: ignore[reportReturnType]


def total(x: Tensor) -> Tensor:
    """Sum over ranks. Gradients reach every rank."""
    return _Total.apply(x) if world_size() > 1 else x  # pyright: ignore[reportReturnType]


def mean(x: Tensor) -> Tensor:
    """Mean over ranks. Gradients reach every rank."""
    return total(x) / world_size()


def share(x: Tensor) -> Tensor:
    """This rank's rows of a tensor that every rank holds whole; ranks' shares make up the whole."""
    return x.tensor_split(world_size())[rank()]


def whole(x: Tensor, rows: int) -> Tensor:
    """Every rank's share [n, ...] put together as [rows, ...] on every rank. No gradient."""
    if world_size() == 1:
        return x
    sizes = [len(part) for part in torch.arange(rows).tensor_split(world_size())]
    room = x.new_empty(sizes[0], *x.shape[1:])  # the first is the largest
    room[: len(x)] = x
    out = x.new_empty(world_size() * sizes[0], *x.shape[1:])
    _gather_into(out, room)
    parts = zip(out.split(sizes[0]), sizes, strict=True)
    return torch.cat([part[:size] for part, size in parts])


def largest(x: Tensor) -> Tensor:
    """Each entry's largest over ranks. No gradient."""
    if world_size() > 1:
        dist.all_reduce(x := x.clone(), op=dist.ReduceOp.MAX)
    return x


def broadcast(x: Tensor) -> Tensor:
    """Rank 0's tensor on every rank, in place. No gradient."""
    if world_size() > 1:
        dist.broadcast(x, src=0)
    return x


def any_rank(flag: bool, device: torch.device) -> bool:  # noqa: FBT001 - the one operand
    """Whether the flag is set on at least one rank; the same answer on all of them."""
    if world_size() == 1:
        return flag
    votes = torch.tensor([float(flag)], device=device)
    dist.all_reduce(votes)
    return bool(votes.item())


def barrier() -> None:
    """Wait for every rank."""
    if world_size() > 1:
        dist.barrier()


def _gather_into(out: Tensor, x: Tensor) -> None:
    """`out` [W*B, ...] takes every rank's x [B, ...].

    torch 2.14 gives the function a new name and warns of the old one, which is all that 2.11 has.
    """
    known = vars(dist)
    name = "all_gather_single" if "all_gather_single" in known else "all_gather_into_tensor"
    known[name](out, x)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.rows = len(x)
        out = x.new_empty((world_size() * len(x), *x.shape[1:]))
        _gather_into(out, x.contiguous())
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        grad = grads[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad)
        return grad[rank() * ctx.rows : (rank() + 1) * ctx.rows]


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        out = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(out)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        grad = grads[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad)
        return grad
