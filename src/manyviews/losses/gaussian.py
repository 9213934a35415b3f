"""Losses that draw embeddings of a batch towards a standard Gaussian, seen along random lines."""

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core import comm
from manyviews.losses.precision import full_precision

KNOTS, FARTHEST = 17, 3.0
"""Frequencies of the Epps-Pulley statistic, from 0 on (rbalestr-lab/lejepa epps_pulley.py)."""
SCALE_EPSILON = 1e-6
"""Added to a deviation that is divided by (HaiyuWu/visreg)."""


def lines(dim: int, count: int, *, seed: int, like: Tensor) -> Tensor:
    """[dim, count]: random columns of length 1, a function of the seed alone.

    Args:
        dim: D.
        count: of lines.
        seed: the same on every rank.
        like: tensor whose device and type they get.
    """
    drawn = torch.randn(dim, count, generator=torch.Generator().manual_seed(seed))
    return F.normalize(drawn.to(like), dim=0)


@full_precision
def epps_pulley(z: Tensor, along: Tensor) -> Tensor:
    """How far each view's embeddings are from a standard Gaussian along lines (SIGReg).

    N times the integral over t of |characteristic function - exp(-t^2 / 2)|^2 exp(-t^2 / 2), by
    the trapezoidal rule on 17 points from 0 to 3, doubled for t < 0; the mean over lines and views.
    It grows with N where embeddings are not Gaussian, so its weight belongs to a batch size.

    Args:
        z: [B, V, D] of this rank; N samples on all of them.
        along: [D, M] unit columns, the same on every rank.

    Returns:
        Scalar, the same on every rank. Under autocast float32.

    Source: Balestriero and LeCun 2025 (LeJEPA), algorithm 1; rbalestr-lab/lejepa
    lejepa/univariate/epps_pulley.py.
    """
    x = z @ along  # [B, V, M]
    t = torch.linspace(0, FARTHEST, KNOTS, dtype=x.dtype, device=x.device)
    gaussian = (-t.square() / 2).exp()
    step = FARTHEST / (KNOTS - 1)
    weights = gaussian * 2 * step
    weights[[0, -1]] /= 2
    angles = x[..., None] * t
    real, imaginary = (comm.mean(part.mean(dim=0)) for part in (angles.cos(), angles.sin()))
    error = (real - gaussian).square() + imaginary.square()  # [V, M, 17]
    count = comm.total(torch.full((), len(z), dtype=x.dtype, device=x.device))
    return (error @ weights).mean() * count


@full_precision
def centre_scale_shape(z: Tensor, along: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """VISReg's three distances of each view's embeddings from a standard Gaussian.

    The squared mean of each dimension; the squared difference of its deviation from 1; and along
    lines the squared distance of the sorted embeddings, brought to mean 0 and deviation 1, from
    the quantiles i / (N + 1) of a Gaussian. The deviation that is divided by has no gradient.

    Args:
        z: [B, V, D] of this rank; all ranks' N samples are compared.
        along: [D, M] unit columns, the same on every rank.

    Returns:
        Three scalars, the means over views, the same on every rank. Under autocast float32.

    Source: Wu et al. 2026 (VISReg), equations 1, 2, 5 and 6.
    """
    z = comm.gather(z)
    count = len(z)
    mean, deviation = z.mean(dim=0), z.std(dim=0, unbiased=False)
    standard = (z - mean) / (deviation.detach() + SCALE_EPSILON)
    ranks = torch.arange(1, count + 1, dtype=torch.float64, device=z.device) / (count + 1)
    quantiles = torch.special.ndtri(ranks).to(z.dtype)
    # View by view: sorting keeps [N, M] numbers and their places.
    shapes = [
        ((view @ along).sort(dim=0).values - quantiles[:, None]).square().mean()
        for view in standard.unbind(1)
    ]
    scale = (1 - deviation).square().mean()
    return mean.square().mean(), scale, torch.stack(shapes).mean()


@full_precision
def to_centre(z: Tensor, *, views: int) -> Tensor:
    """Mean squared difference of all views from the mean of the first ones.

    Args:
        z: [B, V, D].
        views: how many of the V make the centre, whose gradient counts too.

    Returns:
        Scalar; the mean over this rank's samples, views and dimensions. Under autocast float32.

    Source: Balestriero and LeCun 2025 (LeJEPA), equation 5, as rbalestr-lab/lejepa MINIMAL.md.
    """
    return (z - z[:, :views].mean(dim=1, keepdim=True)).square().mean()
