"""Slow copies of a network that a loss takes its targets from."""

# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false
# torch's own optimisers run on the _foreach functions; they have no public name.

import copy
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from manyviews.core import Clock

M = TypeVar("M", bound=nn.Module)


class Schedule(Protocol):
    """A number that depends on the clock: `schedules.Cosine`, `Ramp`, ..."""

    def at(self, clock: Clock) -> float:
        """The value for the step that begins at `clock`."""
        ...


class EMA(nn.Module, Generic[M]):
    """A slow copy of `source`: copy <- m * copy + (1 - m) * source, when told to `follow`.

    Parameters are averaged. Buffers are the copy's own: the targets of MoCo, BYOL and DINO run in
    train mode, so their batch norms use the target's batch statistics and keep its running ones.
    Called like the source, without gradient.

    Attributes:
        copy: the averaged network; starts equal to the source.
        momentum: m, asked with the clock of the step just made.
    """

    copy: M

    def __init__(self, source: M, momentum: Schedule) -> None:
        super().__init__()
        self.copy = copy.deepcopy(source).requires_grad_(requires_grad=False)
        self.momentum = momentum

    @torch.no_grad()
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the copy makes of the arguments."""
        return self.copy(*args, **kwargs)

    @torch.no_grad()
    def follow(self, source: M, clock: Clock) -> None:
        """Move every parameter of the copy a little towards the source's."""
        weight = 1.0 - self.momentum.at(clock)
        mine: list[Tensor] = list(self.copy.parameters())
        theirs: list[Tensor] = list(source.parameters())
        # All tensors in a few kernels on an accelerator; the same numbers as one by one.
        torch._foreach_lerp_(mine, theirs, weight)
