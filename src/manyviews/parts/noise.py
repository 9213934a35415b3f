"""Noise that belongs to a sample and a step, and to nothing else."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from manyviews.parts.counted import GOLDEN, hashed


def uniform(index: Tensor, step: int, shape: Sequence[int], *, salt: Tensor) -> Tensor:
    """Numbers between 0 and 1, never either, for each sample: the same in whatever batch it comes.

    So a loss that draws is a function of its batch and its clock, a resumed training goes on as it
    would have, and ranks draw what one process would.

    Args:
        index: [B] int64, the samples' positions in the data.
        step: of the training.
        shape: of one sample's noise.
        salt: int64 scalar that tells runs apart.

    Returns:
        [B, *shape] float32.

    Source: counters through Steele et al. 2014's SplitMix64.
    """
    at = (step * GOLDEN + 2**63) % 2**64 - 2**63  # as int64 wraps
    key = hashed(hashed(index + salt) + at)
    count = torch.arange(1, math.prod(shape) + 1, device=index.device)
    bits = (hashed(key[:, None] + count * GOLDEN) >> 41) & (2**23 - 1)
    return ((bits.float() + 0.5) * 2.0**-23).view(len(index), *shape)


def gumbel(index: Tensor, step: int, shape: Sequence[int], *, salt: Tensor) -> Tensor:
    """Standard Gumbel noise for each sample; arguments and result as of `uniform`.

    Source: -log(-log(u)), Jang et al. 2017, arXiv:1611.01144.
    """
    return -(-uniform(index, step, shape, salt=salt).log()).log()


def truncated_normal(u: Tensor, *, mean: float, std: float, least: Tensor, most: float) -> Tensor:
    """Uniform numbers turned into normal ones that lie within bounds.

    Args:
        u: [B], between 0 and 1.
        mean: of the normal distribution before it is cut.
        std: likewise, above 0.
        least: [B], the lower bounds.
        most: the upper bound.

    Returns:
        [B].
    """
    low = torch.special.ndtr((least - mean) / std)
    high = torch.special.ndtr(u.new_tensor((most - mean) / std))
    drawn = mean + std * torch.special.ndtri(low + u * (high - low))
    return torch.minimum(torch.maximum(drawn, least), least.new_tensor(most))
