"""Stores of earlier embeddings."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from manyviews.core import comm


class Queue(nn.Module):
    """The last `size` vectors pushed by all ranks, the newest overwriting the oldest.

    Starts with random unit vectors, as MoCo's does; the same on all ranks if they are seeded alike.
    Any batch size fits: the place to write wraps around at the end.

    Attributes:
        items: [size, dim] fp32.
        head: int64 scalar, the row that the next push begins to overwrite.
    """

    items: Tensor
    head: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("items", F.normalize(torch.randn(size, dim), dim=1))
        self.register_buffer("head", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def push(self, x: Tensor) -> None:
        """Store x [B, dim] of every rank, in rank order; of more than `size` rows the last."""
        size = len(self.items)
        rows = comm.gather(x.detach().to(self.items.dtype))
        where = (self.head + torch.arange(len(rows), device=rows.device)) % size
        self.items[where[-size:]] = rows[-size:]
        self.head.add_(len(rows)).remainder_(size)
