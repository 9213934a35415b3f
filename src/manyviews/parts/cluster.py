"""Spherical k-means over rows that every rank holds, the work shared among ranks."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core import UsageError, comm

UNASSIGNED = -100
"""The cluster number of a row that belongs to none; torch's cross-entropy ignores it."""
_ELEMENTS = 2**24
"""Scores held at once: 64 MiB of float32."""


@dataclass(frozen=True)
class Assigned:
    """What k-means found, the same on all ranks.

    Attributes:
        centroids: [K, D] unit vectors.
        assignment: [N] int64 in [0, K), -100 for rows that are not finite.
    """

    centroids: Tensor
    assignment: Tensor


@torch.no_grad()
def spherical_kmeans(
    rows: Tensor, *, count: int, rounds: int, setting: str = "prototypes"
) -> Assigned:
    """Cluster unit vectors by cosine.

    Starts from `count` of the rows, drawn from torch's global generator; seed it alike on all
    ranks. A round assigns each row to its nearest centroid and moves each centroid to the
    direction of its rows' mean; an empty one stays. A last assignment follows. Rows that hold NaN
    or infinity take no part. Beside the rows, memory for 64 MiB of scores and twice that is used.

    Args:
        rows: [N, D] unit vectors, the same on every rank.
        count: K.
        rounds: of assigning and moving.
        setting: of the method, that K comes from; for the message.

    Raises:
        UsageError: if fewer than K rows are finite.

    Source: facebookresearch/swav main_deepclusterv2.py, cluster_memory.
    """
    order = torch.randperm(len(rows)).to(rows.device)
    start = order[_finite(rows)[order]][:count]
    if len(start) < count:
        raise UsageError(
            f"{count} clusters need as many embeddings; there are {len(start)}. "
            f"Lower --method.{setting}."
        )
    centroids = rows[start]
    for _ in range(rounds):
        sums, sizes = _gathered_to(centroids, rows)
        centroids = torch.where(sizes[:, None] > 0, F.normalize(sums, dim=1), centroids)
    assignment = torch.zeros(len(rows), dtype=torch.long, device=rows.device)
    own = [nearest for _, nearest in _assigned(centroids, rows)]
    comm.share(assignment).copy_(torch.cat(own))
    return Assigned(centroids, comm.total(assignment))


def _gathered_to(centroids: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """[K, D] sums and [K] numbers of the rows that each centroid is nearest to, on all ranks."""
    sums, sizes = torch.zeros_like(centroids), centroids.new_zeros(len(centroids))
    for part, nearest in _assigned(centroids, rows):
        # A product rather than index_add_, whose order of summing differs from run to run on GPUs.
        hot = part.new_zeros(len(part), len(centroids))
        known = nearest != UNASSIGNED
        hot.scatter_(1, nearest.clamp(min=0)[:, None], known[:, None].to(hot.dtype))
        sums += hot.T @ torch.where(known[:, None], part, 0.0)
        sizes += hot.sum(dim=0)
    return comm.total(sums), comm.total(sizes)


def _assigned(centroids: Tensor, rows: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """This rank's rows, [n, D] at a time, with the number [n] of each one's nearest centroid."""
    for part in comm.share(rows).split(max(1, _ELEMENTS // len(centroids))):
        nearest = (part @ centroids.T).argmax(dim=1)
        yield part, nearest.masked_fill(~_finite(part), UNASSIGNED)


def _finite(rows: Tensor) -> Tensor:
    """[N, D] -> [N] bool. A sum of finite unit rows cannot overflow."""
    return rows.sum(dim=1).isfinite()
