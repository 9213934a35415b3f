"""Batches on the device one step ahead of the one that trains on them."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

Unsent = TypeVar("Unsent")
Sent = TypeVar("Sent")


def ahead(
    raws: Iterable[Unsent],
    send: Callable[[Unsent], Sent],
    *,
    tensors: Callable[[Sent], Iterable[Tensor]],
    device: torch.device,
) -> Iterator[Sent]:
    """`send(raw)` for each, in order; on a GPU while the step before is being computed.

    Elsewhere nothing is done ahead: the next raw is asked for when the next result is.

    Args:
        raws: in memory that is pinned, or the copies wait for each other.
        send: copies to the device without blocking, and computes there.
        tensors: those of a result, so that none is freed while another stream still uses it.
        device: where `send` sends to.
    """
    if device.type != "cuda":
        yield from map(send, raws)
        return
    side = torch.cuda.Stream(device)
    waiting: tuple[Sent, torch.cuda.Event] | None = None
    for raw in raws:
        with torch.cuda.stream(side):
            sent = send(raw)
        ready = torch.cuda.Event()
        ready.record(side)
        if waiting is not None:
            yield _take(*waiting, tensors=tensors, device=device)
        waiting = sent, ready
    if waiting is not None:
        yield _take(*waiting, tensors=tensors, device=device)


def _take(
    sent: Sent,
    ready: torch.cuda.Event,
    *,
    tensors: Callable[[Sent], Iterable[Tensor]],
    device: torch.device,
) -> Sent:
    """Make the stream that trains wait for what the side stream has sent."""
    main = torch.cuda.current_stream(device)
    main.wait_event(ready)
    for tensor in tensors(sent):
        tensor.record_stream(main)
    return sent
