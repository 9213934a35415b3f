"""Random numbers that are a function of what is counted, and so the same on any number of ranks."""

import torch
from torch import Tensor

GOLDEN = -7046029254386353131
"""What splitmix64 counts in, as a signed integer, which wraps around as its unsigned one does."""
_FIRST, _SECOND = -4658895280553007687, -7723592293110705685
"""splitmix64's factors, likewise."""


def mixed(x: Tensor) -> Tensor:
    """splitmix64's next number after the state x, of int64 of any shape; sums wrap around."""
    return hashed(x + GOLDEN)


def hashed(x: Tensor) -> Tensor:
    """splitmix64's number of the state x, of int64 of any shape; products wrap around.

    Source: Steele, Lea, Flood 2014, Fast splittable pseudorandom number generators.
    """
    x = (x ^ ((x >> 30) & (2**34 - 1))) * _FIRST
    x = (x ^ ((x >> 27) & (2**37 - 1))) * _SECOND
    return x ^ ((x >> 31) & (2**33 - 1))


def words(state: Tensor, count: int) -> Tensor:
    """[..., count] int64 of each state [...] int64: the numbers that follow it, in [0, 2^63)."""
    steps = GOLDEN * torch.arange(count, device=state.device)
    return mixed(state[..., None] + steps) & (2**63 - 1)


def shuffles(index: Tensor, *, count: int, step: int, branch: int = 0) -> Tensor:
    """For each sample random numbers of its places, by which they can be put in order.

    Args:
        index: [B] int64, the samples.
        count: N, of places.
        step: of the optimiser.
        branch: tells several draws of one step apart.

    Returns:
        [B, N] int64, from 0 to 2^62.
    """
    start = torch.tensor(step, device=index.device)
    state = mixed(mixed(mixed(start) + branch) + index)
    return words(state, count) & (2**62 - 1)
