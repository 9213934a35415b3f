"""Spherical k-means over rows that every rank holds, the work shared among ranks."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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


class Clusterings(nn.Module):
    """Several clusterings of all samples, of different sizes, that hold for an epoch.

    Attributes:
        counts: clusters of each.
        centroids: [sum of counts, D] unit vectors, one clustering after the other.
        concentration: [sum of counts], what each one's similarities are divided by.
        assignment: [clusterings, samples] int64, -100 where a sample is in none.
        usage: scalar, entropy of the sizes over ln K, the mean over clusterings.
        of_samples: what it holds means nothing on other data.
        never_copied: it is written between epochs only, so undoing a step needs no copy.
    """

    of_samples = True
    never_copied = True
    centroids: Tensor
    concentration: Tensor
    assignment: Tensor
    usage: Tensor

    def __init__(self, samples: int, dim: int, counts: Sequence[int]) -> None:
        super().__init__()
        self.counts = tuple(counts)
        self.register_buffer("centroids", torch.zeros(sum(counts), dim))
        self.register_buffer("concentration", torch.ones(sum(counts)))
        self.register_buffer("assignment", torch.full((len(counts), samples), UNASSIGNED))
        self.register_buffer("usage", torch.ones(()))

    @torch.no_grad()
    def cluster(self, rows: Tensor, *, rounds: int, temperature: float) -> None:
        """Cluster unit vectors [samples, D] of all samples anew, once for each count.

        Args:
            rows: the same on every rank; what is not finite gets no cluster.
            rounds: of k-means.
            temperature: the mean of the concentrations.

        Raises:
            UsageError: there are fewer rows than clusters.
        """
        rows = rows.to(self.centroids.dtype)
        parts = zip(
            self.centroids.split(self.counts), self.concentration.split(self.counts), strict=True
        )
        entropies: list[float] = []
        for number, (centroids, concentration) in enumerate(parts):
            count = len(centroids)
            found = spherical_kmeans(rows, count=count, rounds=rounds)
            centroids.copy_(found.centroids)
            concentration.copy_(concentrations(rows, found, temperature=temperature))
            self.assignment[number] = found.assignment
            sizes = found.assignment[found.assignment != UNASSIGNED].bincount()
            entropies.append(float(torch.special.entr(sizes / sizes.sum()).sum()) / math.log(count))
        self.usage.fill_(sum(entropies) / len(entropies))


@torch.no_grad()
def concentrations(rows: Tensor, found: Assigned, *, temperature: float) -> Tensor:
    """How wide each cluster is: its rows' mean distance from the centroid over ln(size + 10).

    A cluster of fewer than two rows is taken to be as wide as the widest. Then all are brought
    between the tenth and the ninetieth percentile, and scaled to a mean of `temperature`.

    Args:
        rows: [N, D] unit vectors, the same on every rank.
        found: their clusters.
        temperature: the mean of what is returned.

    Returns:
        [K]; all `temperature` where no cluster has two different rows.

    Source: Li et al. 2021 (PCL), equation 12; salesforce/PCL main_pcl.py, run_kmeans.
    """
    sums, sizes = rows.new_zeros(2, len(found.centroids), dtype=torch.float64)
    mine = comm.share(rows), comm.share(found.assignment)
    for part, where in zip(*(x.split(max(1, _ELEMENTS // len(sums))) for x in mine), strict=True):
        known = where != UNASSIGNED
        away = (part - found.centroids[where.clamp(min=0)]).norm(dim=1)
        hot = sums.new_zeros(len(part), len(sums))  # a product, as in `_gathered_to`
        hot.scatter_(1, where.clamp(min=0)[:, None], known[:, None].to(hot.dtype))
        sums += torch.where(known, away, 0.0).to(hot.dtype) @ hot
        sizes += hot.sum(dim=0)
    sums, sizes = comm.total(sums), comm.total(sizes)
    wide = sums / sizes.clamp(min=1) / (sizes + 10).log()
    wide = torch.where(sizes > 1, wide, torch.where(sizes > 1, wide, 0.0).max())
    low, high = wide.quantile(wide.new_tensor([0.1, 0.9])).unbind()
    wide = wide.clamp(low, high)
    mean = wide.mean()
    even = torch.full_like(wide, temperature)
    return torch.where(mean > 0, temperature * wide / mean, even).to(rows.dtype)


@torch.no_grad()
def evened(assignment: Tensor, *, count: int) -> tuple[Tensor, Tensor]:
    """What samples count so that all clusters that are not empty count alike.

    Args:
        assignment: [N] int64 in [0, K), -100 for a sample in no cluster.
        count: K.

    Returns:
        [N] of mean 1 over the samples in clusters, 0 for others; and a scalar, the entropy of the
        clusters' sizes over ln K.

    Source: Caron et al. 2018 (DeepCluster), section 3.3.
    """
    known = assignment != UNASSIGNED
    sizes = assignment[known].bincount(minlength=count).double()
    share = sizes / sizes.sum()
    each = 1 / ((sizes > 0).sum() * share)
    weight = torch.where(known, each[assignment.clamp(min=0)], 0.0)
    return weight, torch.special.entr(share).sum() / math.log(count)


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
