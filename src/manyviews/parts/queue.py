"""Stores of earlier embeddings."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from manyviews.core import comm
from manyviews.core.memory import check_memory
from manyviews.losses.precision import full_precision


class Queue(nn.Module):
    """The last `size` vectors pushed by all ranks, the newest overwriting the oldest.

    Starts with random unit vectors, as MoCo's does; the same on all ranks if they are seeded alike.
    Any batch size fits: the place to write wraps around at the end.

    Attributes:
        items: [size, dim] fp32.
        head: int64 scalar, the row that the next push begins to overwrite.

    Raises:
        UsageError: it is larger than this machine's memory.
    """

    items: Tensor
    head: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        check_memory(size, dim, what="The queue", advice="Lower --method.queue.")
        self.register_buffer("items", F.normalize(torch.randn(size, dim), dim=1))
        self.register_buffer("head", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def push(self, x: Tensor) -> None:
        """Store x [B, dim] of every rank, in rank order; of more than `size` rows the last."""
        size = len(self.items)
        rows = comm.gather(x.detach().to(self.items.dtype))
        self.items[self.places(len(rows))] = rows[-size:]
        self.head.add_(len(rows)).remainder_(size)

    def places(self, count: int) -> Tensor:
        """Where the next `count` rows go, or the last `size` of them: int64."""
        where = self.head + torch.arange(count, device=self.items.device)
        return where[-len(self.items) :] % len(self.items)


class Support(nn.Module):
    """A queue that knows whose each vector is, so that nobody is its own neighbour.

    Where the queue is longer than an epoch a sample meets what it was an epoch ago, and that would
    nearly always be the nearest.

    Attributes:
        queue: the vectors.
        owner: [size] int64, the sample of each; -1 for the random ones at the start.
        of_samples: what it holds means nothing on other data.

    Source: Dwibedi et al. 2021 (NNCLR), section 3.2, where the queue is a part of an epoch.
    """

    owner: Tensor
    of_samples = True

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.queue = Queue(size, dim)
        self.register_buffer("owner", torch.full((size,), -1))

    @torch.no_grad()
    def nearest(self, x: Tensor, index: Tensor) -> Tensor:
        """The stored vector most like each of x, of another sample: [B, dim] fp32.

        Args:
            x: [B, dim].
            index: [B] int64, the samples.
        """
        similar = _products(x, self.queue.items)
        similar = similar.masked_fill(self.owner == index[:, None], -torch.inf)
        return self.queue.items[similar.argmax(dim=1)]

    @torch.no_grad()
    def push(self, x: Tensor, index: Tensor) -> None:
        """Store x [B, dim] of the samples index [B] of every rank, in rank order."""
        samples = comm.gather(index)
        self.owner[self.queue.places(len(samples))] = samples[-len(self.owner) :]
        self.queue.push(x)


@full_precision
def _products(x: Tensor, items: Tensor) -> Tensor:
    return x @ items.T
