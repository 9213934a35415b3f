"""A few colours that stand for all that the data have."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from manyviews.core import UsageError

_ROWS = 1 << 16
"""Colours that are clustered; of more, as many, evenly spaced."""
_ROUNDS = 20


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

        Begins with rows drawn from torch's global generator; seed it alike on all ranks. A centre
        to which no row is nearest stays where it is.

        Raises:
            UsageError: fewer rows than centres are finite.
        """
        rows = rows[rows.sum(dim=1).isfinite()]
        rows = rows[:: max(1, len(rows) // _ROWS)].double()
        count = len(self.colours)
        if len(rows) < count:
            raise UsageError(
                f"{count} colours were to be found among {len(rows)}. Lower --method.colours."
            )
        centres = rows[torch.randperm(len(rows))[:count].to(rows.device)]
        for _ in range(_ROUNDS):
            nearest = torch.cdist(rows, centres).argmin(dim=1)
            hot = F.one_hot(nearest, count).to(rows.dtype)
            sizes = hot.sum(dim=0)[:, None]
            centres = torch.where(sizes > 0, hot.T @ rows / sizes.clamp(min=1), centres)
        self.colours.copy_(centres)
        self.found.copy_(torch.ones_like(self.found))

    def forward(self, ab: Tensor) -> Tensor:
        """[..., 2] colours -> [...] int64, which centre is nearest."""
        away = (ab[..., None, :] - self.colours).square().sum(dim=-1)
        return away.argmin(dim=-1)
