"""A few colours that stand for all that the data have, and who reads images by them."""

from typing import Protocol, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from manyviews.core import Encoder, Features, UsageError
from manyviews.core.inputs import Input

_ROWS = 1 << 16
"""Colours that are clustered; of more, as many, evenly spaced."""
_ROUNDS = 20


class OfColours(Protocol):
    """An encoder of the colours of pixels, in a row, of which each sees those before it alone.

    Instead of images it takes their colours' numbers [B, N] int64 too, which `codes` gives.

    Attributes:
        input: what it is fed.
        dim: D, of its tokens.
        colours: [K, C], of pixels in [0, 1].
        adopted: scalar, 1 where they are of data, 0 before.
    """

    input: Input
    dim: int
    colours: Tensor
    adopted: Tensor

    def __call__(self, x: Tensor) -> Features:
        """As of any encoder."""
        ...

    def adopt(self, colours: Tensor) -> None:
        """Take a palette [K, C]."""
        ...

    def codes(self, x: Tensor) -> Tensor:
        """Images [B, *input.shape] -> [B, N] int64."""
        ...


def reads_colours(encoder: Encoder) -> TypeGuard[OfColours]:
    """Whether it is `OfColours`."""
    return all(hasattr(encoder, name) for name in ("colours", "adopted", "adopt", "codes"))


class Palette(nn.Module):
    """Centres of clusters of colours (a, b), and which of them is nearest to a colour.

    Attributes:
        colours: [K, 2], zeros until they are found.
        found: scalar bool, whether they are.
        of_samples: what it holds means nothing on other data.
        never_copied: it is written before the first epoch only.
    """

    of_samples = True
    never_copied = True
    colours: Tensor
    found: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        self.register_buffer("colours", torch.zeros(count, 2))
        self.register_buffer("found", torch.zeros((), dtype=torch.bool))

    @torch.no_grad()
    def find(self, rows: Tensor) -> None:
        """Cluster rows [n, 2], the same on every rank, by k-means; NaN rows take no part.

        Begins with rows drawn from torch's global generator; seed it alike on all ranks.

        Raises:
            UsageError: fewer rows than centres are finite.
        """
        rows = rows[rows.sum(dim=1).isfinite()]
        self.colours.copy_(clustered(rows, len(self.colours), "--method.colours"))
        self.found.copy_(torch.ones_like(self.found))

    def forward(self, ab: Tensor) -> Tensor:
        """[..., 2] colours -> [...] int64, which centre is nearest."""
        away = (ab[..., None, :] - self.colours).square().sum(dim=-1)
        return away.argmin(dim=-1)


def clustered(rows: Tensor, count: int, setting: str, *, distinct: bool = False) -> Tensor:
    """Centres [count, D] of rows [n, D] by k-means; one to which no row is nearest stays.

    Args:
        rows: finite.
        count: of centres.
        setting: which the user lowers where there are too few rows.
        distinct: no two centres begin at equal rows, as those of flat areas are.

    Raises:
        UsageError: there are fewer rows to begin with than centres.
    """
    rows = rows[:: max(1, len(rows) // _ROWS)].double()
    first = rows.unique(dim=0) if distinct else rows
    if len(first) < count:
        raise UsageError(f"{count} colours were to be found among {len(first)}. Lower {setting}.")
    centres = first[torch.randperm(len(first))[:count].to(rows.device)]
    for _ in range(_ROUNDS):
        nearest = torch.cdist(rows, centres).argmin(dim=1)
        hot = F.one_hot(nearest, count).to(rows.dtype)
        sizes = hot.sum(dim=0)[:, None]
        centres = torch.where(sizes > 0, hot.T @ rows / sizes.clamp(min=1), centres)
    return centres
