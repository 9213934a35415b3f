"""Labels for a whole data set that fill all classes alike: optimal transport."""

import torch
from torch import Tensor

from manyviews.core import comm

_TINY = 1e-300
_MOST = 10_000
"""Rounds after which it ends anyway."""


@torch.no_grad()
def transported(p: Tensor, *, sharpness: float, tolerance: float) -> Tensor:
    """Each row's class in the transport of rows to classes that takes 1/K of them to each.

    Sinkhorn-Knopp on p to the power of `sharpness`, then the greatest entry of each row. Ends
    where the rows' factors change by less than `tolerance`, summed over all rows.

    Args:
        p: [n, K] float64, this rank's rows of probabilities.
        sharpness: lambda.
        tolerance: seen every tenth round.

    Returns:
        [n] int64 in [0, K).

    Source: Asano et al. 2020 (SeLa), equations 6 to 8; yukimasano/self-label sinkhornknopp.py,
    optimize_L_sk.
    """
    mass = p.double().pow(sharpness)
    classes = mass.shape[1]
    rows = comm.total(mass.new_tensor(float(len(mass))))
    row = mass.new_ones(len(mass)) / rows
    column = mass.new_ones(classes)
    for k in range(_MOST):
        column = 1 / (classes * comm.total(row @ mass).clamp(min=_TINY))
        new = 1 / (rows * (mass @ column).clamp(min=_TINY))
        change = comm.total((row / new - 1).abs().nansum()) if k % 10 == 0 else None
        row = new
        if change is not None and change <= tolerance:
            break
    return (mass * column).argmax(dim=1)
