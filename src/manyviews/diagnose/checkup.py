"""The numbers that a health check looks at, computed on one batch without waiting for a device."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.diagnose.rank import entropy_rank
from manyviews.diagnose.spectrum import from_gram


def spread(views: Tensor) -> dict[str, Tensor]:
    """How images and views lie to one another.

    Args:
        views: [B, V, D] float32, B >= 2.

    Returns:
        Scalars: "std" and, from two views on, "alignment" as in `uniformity`; "uniformity";
        "cosine" (mean over different images); "sameness" (mean squared distance of an image's
        first two views over that of different images); "raw" (mean standard deviation before
        normalising).
    """
    z = F.normalize(views, dim=-1)
    first = z[:, 0]
    n, d = first.shape
    cosines = first @ first.T
    others = cosines.flatten()[1:].view(n - 1, n + 1)[:, :-1]  # all but the diagonal
    found = {
        "std": first.std(dim=0, correction=0).mean() * math.sqrt(d),
        "uniformity": (4 * (others - 1)).exp().mean().clamp_min(1e-30).log(),
        "cosine": others.mean(),
        "raw": views[:, 0].std(dim=0, correction=0).mean(),
    }
    if views.shape[1] > 1:
        found["alignment"] = (first - z[:, 1]).square().sum(dim=1).mean()
        apart = (first - first.mean(dim=0)).square().sum(dim=1).mean() * 2 * n / (n - 1)
        found["sameness"] = found["alignment"] / apart.clamp_min(1e-12)
    return found


class RollingRank:
    """Effective rank over about the last `rows` rows of batches, each centred by itself.

    Centring each batch keeps a drifting mean from counting as directions. Holds one matrix
    [D, D], no rows.

    Args:
        rows: after which the weight of a batch has fallen to 1/e.
        columns: most of a row that is looked at, evenly spaced.

    Attributes:
        rank: as last measured, NaN before there were enough rows.
        width: columns looked at; 0 before the first batch.
    """

    least = 128
    """Rows that a rank is measured from, at the least."""

    def __init__(self, *, rows: int, columns: int) -> None:
        self.rank = math.nan
        self.width = 0
        self._rows, self._columns = rows, columns
        self._seen = 0
        self._gram: Tensor | None = None

    def add(self, x: Tensor) -> None:
        """Take in a batch [B, D] float32."""
        d = x.shape[1]
        if d > self._columns:
            x = x[:, torch.linspace(0, d - 1, self._columns).long().to(x.device)]
        x = x - x.mean(dim=0)
        self._seen += len(x)
        if self._gram is None or self._gram.device != x.device:
            self.width = x.shape[1]
            self._gram = x.T @ x
        else:
            self._gram.mul_(math.exp(-len(x) / self._rows)).addmm_(x.T, x)

    def measure(self) -> None:
        """Bring `rank` up to date."""
        if self._gram is not None and self._seen >= self.least:
            self.rank = entropy_rank(from_gram(self._gram.double().cpu(), noise=1e-7))
