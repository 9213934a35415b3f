"""The numbers that a health check looks at, computed on one batch without waiting for a device."""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.diagnosis.rank import entropy_rank
from manyviews.diagnosis.spectrum import from_gram
from manyviews.losses.entropy import log_vmf_normaliser

CONCENTRATION = 10.0
"""Of the kernels of entropy and reconstruction: that of the authors' code."""


def spread(views: Tensor) -> dict[str, Tensor]:
    """How images and views lie to one another.

    Args:
        views: [B, V, D] float32, B >= 2.

    Returns:
        Scalars: "std" and, from two views on, "alignment" as in `uniformity`; "uniformity";
        "entropy" (nats, leave-one-out estimate with von Mises-Fisher kernels on this process's
        rows) and, from two views on, "reconstruction", as in `losses.entropy`;
        "cosine" (mean over different images); "sameness" (mean squared distance of an image's
        first two views over that of different images); "consistency" (share of images whose
        nearest second view is their own); "raw" (mean standard deviation before normalising).
    """
    z = F.normalize(views, dim=-1)
    first = z[:, 0]
    n, d = first.shape
    cosines = first @ first.T
    # All but the diagonal, image by image.
    others = cosines.flatten()[1:].view(n - 1, n + 1)[:, :-1].reshape(n, n - 1)
    log_c = log_vmf_normaliser(d, CONCENTRATION)
    log_p = (CONCENTRATION * others).logsumexp(dim=1) + (log_c - math.log(n - 1))
    found = {
        "entropy": -log_p.mean(),
        "std": first.std(dim=0, correction=0).mean() * math.sqrt(d),
        "uniformity": (4 * (others - 1)).exp().mean().clamp_min(1e-30).log(),
        "cosine": others.mean(),
        "raw": views[:, 0].std(dim=0, correction=0).mean(),
    }
    if views.shape[1] > 1:
        nearest = (first @ z[:, 1].T).argmax(dim=1)
        found["consistency"] = (nearest == torch.arange(n, device=z.device)).float().mean()
        found["alignment"] = (first - z[:, 1]).square().sum(dim=1).mean()
        found["reconstruction"] = CONCENTRATION * (1 - found["alignment"] / 2) + log_c
        apart = (first - first.mean(dim=0)).square().sum(dim=1).mean() * 2 * n / (n - 1)
        found["sameness"] = found["alignment"] / apart.clamp_min(1e-12)
    return found


class RollingRank:
    """Effective rank over the last rows of many batches, each batch centred by itself.

    Centring each batch keeps a drifting mean from counting as directions. Holds no rows but two
    matrices [D, D]: the newer fills up, then takes the place of the older.

    Args:
        rows: that it looks back on, at the most; never fewer than half of them once there are
            enough, but for `batches`.
        columns: most of a row that is looked at, evenly spaced.
        batches: that it looks back on, at the most; small batches would otherwise hide a collapse
            behind a long past.

    Attributes:
        rank: as last measured, NaN before there were enough rows.
        width: columns looked at; 0 before the first batch.
    """

    least = 128
    """Rows that a rank is measured from, at the least."""

    def __init__(self, *, rows: int, columns: int, batches: int = 16) -> None:
        self.rank = math.nan
        self.width = 0
        self._rows, self._columns, self._batches = rows, columns, batches
        self._older: tuple[Tensor, int] | None = None
        self._newer: tuple[Tensor, int] | None = None
        self._added = 0  # batches in the newer

    def add(self, x: Tensor) -> None:
        """Take in a batch [B, D] float32."""
        d = x.shape[1]
        if d > self._columns:
            x = x[:, torch.linspace(0, d - 1, self._columns).long().to(x.device)]
        self.width = x.shape[1]
        x = x - x.mean(dim=0)
        gram = x.T @ x
        known = self._newer
        if known is None:
            self._newer = gram, len(x)
        else:  # what was restored lies on the CPU
            self._newer = known[0].to(gram.device).add_(gram), known[1] + len(x)
        self._added += 1
        if 2 * self._newer[1] >= self._rows or 2 * self._added >= self._batches:
            self._older, self._newer, self._added = self._newer, None, 0

    def measure(self) -> None:
        """Bring `rank` up to date."""
        parts = [part for part in (self._older, self._newer) if part is not None]
        if sum(count for _, count in parts) < self.least:
            return
        gram = torch.stack([gram.cpu() for gram, _ in parts]).double().sum(dim=0)
        if torch.isfinite(gram).all():
            self.rank = entropy_rank(from_gram(gram, noise=1e-7))
        else:
            self.rank, self._older, self._newer, self._added = math.nan, None, None, 0

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Numbers for JSON, and the matrices, that `restore` goes on from exactly."""
        kept = {"older": self._older, "newer": self._newer}
        numbers: dict[str, Any] = {
            "rank": None if math.isnan(self.rank) else self.rank,
            "width": self.width,
            "added": self._added,
            "rows": {name: part[1] for name, part in kept.items() if part is not None},
        }
        return numbers, {name: part[0] for name, part in kept.items() if part is not None}

    def restore(self, numbers: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take up what `state` gave."""
        rank = numbers["rank"]
        self.rank = math.nan if rank is None else float(rank)
        self.width, self._added = int(numbers["width"]), int(numbers["added"])
        parts = {name: (tensors[name], int(rows)) for name, rows in numbers["rows"].items()}
        self._older, self._newer = parts.get("older"), parts.get("newer")
