"""Labels for a whole data set that fill all classes as they should be: optimal transport."""

import math

import torch
from torch import Tensor, nn

from manyviews.core import Clock, UsageError, comm
from manyviews.parts.cluster import UNASSIGNED

_TINY = 1e-300
_MOST = 10_000
"""Rounds after which it ends anyway."""


class Labels(nn.Module):
    """Each sample's class for each head.

    Attributes:
        of_samples: what it holds means nothing on other data.
        never_copied: it is written between epochs only, so undoing a step needs no copy.
    """

    of_samples = True
    never_copied = True
    items: Tensor

    def __init__(self, heads: int, samples: int) -> None:
        super().__init__()
        self.register_buffer("items", torch.full((heads, samples), UNASSIGNED))


def due(clock: Clock, *, times: int, power: float) -> bool:
    """Whether one of the times E (j / (times - 1))^power, in epochs, came since the last began.

    Dense at first where the power is above 1; the first epoch always is.
    """
    since = (max(0, epoch) / max(1, clock.epochs) for epoch in (clock.epoch - 1, clock.epoch))
    before, now = (math.floor(part ** (1 / power) * (times - 1) + 1e-9) for part in since)
    return clock.epoch == 0 or now > before


@torch.no_grad()
def by_rank(shares: Tensor, p: Tensor) -> Tensor:
    """Shares [K], ascending, for classes by how much of p [n, K] each has over all ranks: [K]."""
    order = comm.total(p.sum(dim=0)).argsort(stable=True)
    return torch.empty_like(shares).scatter(0, order, shares)


@torch.no_grad()
def transported(
    p: Tensor,
    *,
    sharpness: float,
    tolerance: float,
    shares: Tensor | None = None,
    setting: str = "clusters",
) -> Tensor:
    """Each row's class in the transport of rows to classes that takes 1/K of them to each.

    Sinkhorn-Knopp on p to the power of `sharpness`, then the greatest entry of each row. Ends
    where the rows' factors change by less than `tolerance`, summed over all rows.

    Args:
        p: [n, K] float64, this rank's rows of probabilities.
        sharpness: lambda.
        tolerance: seen every tenth round.
        shares: [K] of sum 1, the part of all rows that each class takes instead of 1/K.
        setting: of the method, that K comes from; for the message.

    Returns:
        [n] int64 in [0, K).

    Raises:
        UsageError: there are fewer rows than classes, so that not every class can have one.

    Source: Asano et al. 2020 (SeLa), equations 6 to 8; yukimasano/self-label sinkhornknopp.py,
    optimize_L_sk. With shares: Asano et al. 2020 (SeLaVi); facebookresearch/selavi
    src/sk_utils.py, optimize_L_sk_gpu.
    """
    mass = p.double().pow(sharpness)
    classes = mass.shape[1]
    rows = comm.total(mass.new_tensor(float(len(mass))))
    if rows < classes:
        raise UsageError(
            f"{classes} classes need as many embeddings; there are {int(rows)}. "
            f"Lower --method.{setting}."
        )
    row = mass.new_ones(len(mass)) / rows
    column = mass.new_ones(classes)
    wanted = mass.new_full((classes,), 1 / classes) if shares is None else shares.to(mass)
    for k in range(_MOST):
        column = wanted / comm.total(row @ mass).clamp(min=_TINY)
        new = 1 / (rows * (mass @ column).clamp(min=_TINY))
        change = comm.total((row / new - 1).abs().nansum()) if k % 10 == 0 else None
        row = new
        if change is not None and change <= tolerance:
            break
    return (mass * column).argmax(dim=1)
