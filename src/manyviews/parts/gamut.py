"""Colours without their lightness as classes: bins of a and b, soft encodings, how rare each is."""

from functools import lru_cache

import torch
from torch import Tensor, nn

from manyviews.core import comm
from manyviews.core.lab import to_lab

_STEP, _MOST, _REACH, _SAMPLES = 10, 110, 13.9, 33
"""Of the grid; its ends; how far from a colour a point may lie; steps of the cube of colours."""


@lru_cache(maxsize=1)
def colour_bins() -> Tensor:
    """[313, 2] float32: the points (a, b) of a grid of 10 that lie within 13.9 of some sRGB colour.

    Of the authors' 313, for which no rule is published, 310 are among them. What differs lies at
    the border, more than 11.7 from any colour, and so is no pixel's nearest bin.

    Source: Zhang et al. 2016, section 2.2 and figure 3a; richzhang/colorization
    resources/pts_in_hull.npy.
    """
    steps = torch.linspace(0, 1, _SAMPLES, dtype=torch.float64)
    cube = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij")).flatten(1)
    faces = cube[:, ((cube == 0) | (cube == 1)).any(dim=0)]  # in whose shadow lies all the rest
    colours = to_lab(faces[:, :, None])[1:, :, 0].T
    axis = torch.arange(-_MOST, _MOST + 1, _STEP, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    return grid[torch.cdist(grid, colours).amin(dim=1) <= _REACH].float()


def soft_bins(ab: Tensor, bins: Tensor, *, count: int, sigma: float) -> tuple[Tensor, Tensor]:
    """The bins nearest to each colour, and how much each of them counts.

    Args:
        ab: [..., 2].
        bins: [Q, 2].
        count: n, of bins that a colour is shared among.
        sigma: of the Gaussian of the distance by which it is.

    Returns:
        [..., n] int64, the nearest bin first, and [..., n] weights that sum to 1.

    Source: Zhang et al. 2016, section 2.2; richzhang/colorization resources/caffe_traininglayers.py
    (NNEncode).
    """
    flat = ab.flatten(0, -2)
    # Not by products, which would make nearest bins of equal distance differ by rounding.
    away = torch.cdist(flat, bins.to(flat), compute_mode="donot_use_mm_for_euclid_dist")
    distance, index = away.topk(count, dim=1, largest=False)
    weight = (-(distance**2) / (2 * sigma**2)).softmax(dim=1)
    shape = (*ab.shape[:-1], count)
    return index.view(shape), weight.view(shape)


class Rarity(nn.Module):
    """How much each class counts: more, the rarer it is in the data.

    Attributes:
        prior: [Q] shares of the classes; 0 until it is measured.
        factor: [Q], of mean 1 over the data; 1 until then.
        of_samples: what it holds means nothing on other data.
        never_copied: it is written before the first epoch only.
    """

    of_samples = True
    never_copied = True
    prior: Tensor
    factor: Tensor

    def __init__(self, classes: int, *, uniform: float) -> None:
        super().__init__()
        self.uniform = uniform
        self.register_buffer("prior", torch.zeros(classes))
        self.register_buffer("factor", torch.ones(classes))

    @torch.no_grad()
    def measure(self, shares: Tensor) -> None:
        """Set both from the shares [n, Q] of this rank's samples; NaN rows do not count."""
        known = shares[shares.sum(dim=1).isfinite()].double()
        sums = comm.total(torch.cat([known.sum(dim=0), known.new_tensor([float(len(known))])]))
        prior = sums[:-1] / sums[-1]
        self.prior.copy_(prior)
        self.factor.copy_(rebalanced(prior, uniform=self.uniform))


def rebalanced(prior: Tensor, *, uniform: float) -> Tensor:
    """Weights of classes: one over a mixture of their shares and equal ones; of mean 1 over both.

    Args:
        prior: [Q] shares that sum to 1.
        uniform: lambda, weight of the equal shares, which are those of the classes that there are.

    Returns:
        [Q] of sum(prior * weight) 1. A class that there is none of weighs as the rarest.

    Source: Zhang et al. 2016, equation 4; richzhang/colorization resources/caffe_traininglayers.py
    (PriorFactor).
    """
    there = prior > 0
    equal = there.to(prior.dtype) / there.sum()
    mixed = (1 - uniform) * prior + uniform * equal
    mixed = torch.where(there, mixed, mixed[there].min())
    weight = 1 / mixed
    return weight / (prior * weight).sum()
