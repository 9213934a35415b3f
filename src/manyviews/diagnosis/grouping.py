"""Whether features fall into groups: k-means, and how far its clusters can be believed."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from manyviews.core import UsageError
from manyviews.diagnosis.spectrum import check_features, check_views
from manyviews.diagnosis.uniformity import unit


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """What k-means found.

    Attributes:
        assignment: [N] int64, the nearest centre of each row.
        centres: [K, D] float32.
        inertia: sum of squared distances to the nearest centres.
    """

    assignment: Tensor
    centres: Tensor
    inertia: float


@dataclass(frozen=True, kw_only=True)
class Consistency:
    """Whether two views of an image fall into one cluster.

    Attributes:
        share: of images whose two views do, 0 to 1.
        chance: the share that clusters of these sizes give views of different images.
    """

    share: float
    chance: float

    @property
    def above_chance(self) -> float:
        """0 for what chance gives (also where all is one cluster), 1 for all images."""
        return (self.share - self.chance) / (1 - self.chance) if self.chance < 1 else 0.0


def kmeans(
    features: Tensor,
    *,
    clusters: int,
    seed: int = 0,
    iterations: int = 50,
    restarts: int = 1,
    chunk: int = 8192,
) -> Clusters:
    """Lloyd's k-means from greedy k-means++ starts (Arthur and Vassilvitskii 2007).

    Args:
        features: [N, D]; distances are Euclidean, so normalise first where directions count.
        clusters: K, at most N.
        seed: of the starts.
        iterations: at the most; it ends when no row changes its cluster.
        restarts: the one of least inertia wins.
        chunk: rows compared with the centres at a time; changes the result by rounding alone.

    Raises:
        UsageError: unusable features, or more clusters than rows.
    """
    check_features(features)
    if not 1 <= clusters <= len(features):
        raise UsageError(
            f"k-means wants {clusters} clusters of {len(features)} rows; wanted 1 to "
            f"{len(features)}. Give more samples, or fewer clusters."
        )
    mean = features.double().mean(dim=0)
    x = (features.double() - mean).float()
    random = np.random.default_rng(seed)
    found = [_lloyd(x, _start(x, clusters, random), iterations, chunk) for _ in range(restarts)]
    best = min(found, key=lambda one: one.inertia)
    centres = (best.centres.double() + mean).float()
    return Clusters(assignment=best.assignment, centres=centres, inertia=best.inertia)


def nearest_centre(features: Tensor, centres: Tensor, *, chunk: int = 8192) -> Tensor:
    """[N] int64: the nearest of centres [K, D] of each row of features [N, D]."""
    return _nearest(features.float(), centres, chunk)[0]


def stability(
    features: Tensor, *, clusters: int, seed: int = 0, repeats: int = 3, chunk: int = 8192
) -> float:
    """Adjusted Rand index of two k-means, each fitted to one half of the images, on all of them.

    Ben-Hur et al. 2002 and von Luxburg 2010 ("Clustering stability: an overview"), with disjoint
    halves. Features are normalised to length 1.

    Args:
        features: [N, D], N >= 2 `clusters`.
        clusters: K.
        seed: of the halves and the starts.
        repeats: halvings that are averaged.
        chunk: as in `kmeans`.

    Returns:
        1 where the halves give the same clusters, about 0 where they agree by chance.

    Raises:
        UsageError: unusable features, or fewer than 2 K rows.
    """
    check_features(features)
    n = len(features)
    if clusters < 2 or n < 2 * clusters:
        raise UsageError(
            f"Cluster stability wants {clusters} clusters in both halves of {n} rows; wanted 2 or "
            "more clusters and twice as many rows. Give more samples, or fewer clusters."
        )
    z = unit(features)
    found: list[float] = []
    for repeat in range(repeats):
        order = np.random.default_rng([seed, repeat]).permutation(n)
        sides: list[Tensor] = []
        for side, half in enumerate((order[: n // 2], order[n // 2 :])):
            rows = z[torch.from_numpy(half).to(z.device)]
            fitted = kmeans(rows, clusters=clusters, seed=seed + 2 * repeat + side, chunk=chunk)
            sides.append(nearest_centre(z, fitted.centres, chunk=chunk))
        found.append(adjusted_rand(*sides))
    return sum(found) / len(found)


def consistency(
    a: Tensor, b: Tensor, *, clusters: int, seed: int = 0, chunk: int = 8192
) -> Consistency:
    """How often two views of an image fall into the same cluster of a k-means of all views.

    Args:
        a: [N, D], features of one view of each image.
        b: [N, D], of the other. Both are normalised to length 1.
        clusters: K.
        seed: of the starts.
        chunk: as in `kmeans`.

    Raises:
        UsageError: unusable features, shapes that differ, or more clusters than rows.
    """
    check_views(a, b)
    found = kmeans(torch.cat([unit(a), unit(b)]), clusters=clusters, seed=seed, chunk=chunk)
    first, second = found.assignment.split(len(a))
    shares = [
        torch.bincount(side, minlength=clusters).double() / len(a) for side in (first, second)
    ]
    return Consistency(
        share=float((first == second).double().mean()),
        chance=float((shares[0] * shares[1]).sum()),
    )


def adjusted_rand(a: Tensor, b: Tensor) -> float:
    """Agreement of two groupings of the same rows over pairs of rows (Hubert and Arabie 1985).

    Args:
        a: [N] int64, a cluster of each row.
        b: [N] int64, whose numbers need not mean the same.

    Returns:
        1 where they are the same up to names, 0 in the mean over random groupings, at least -0.5.

    Raises:
        UsageError: no rows, or lengths that differ.
    """
    table = _table(a, b)
    both, first, second = (_pairs(x) for x in (table, table.sum(dim=1), table.sum(dim=0)))
    expected = first * second / max(1.0, _pairs(table.sum()))
    most = (first + second) / 2
    return (both - expected) / (most - expected) if most != expected else 1.0


def nmi(a: Tensor, b: Tensor) -> float:
    """Mutual information of two groupings of the same rows over the mean of their entropies.

    Args:
        a: [N] int64, a cluster of each row.
        b: [N] int64, whose numbers need not mean the same.

    Returns:
        0 (independent) to 1 (the same up to names, also where both are a single cluster). Not
        corrected for chance: many clusters of few rows agree by accident.

    Raises:
        UsageError: no rows, or lengths that differ.
    """
    table = _table(a, b)
    joint = table / table.sum()
    entropies = [_entropy(joint.sum(dim=axis)) for axis in (0, 1)]
    total = sum(entropies)
    return max(0.0, 2 * (total - _entropy(joint.flatten())) / total) if total > 0 else 1.0


def _start(x: Tensor, clusters: int, random: np.random.Generator) -> Tensor:
    """[K, D]: each next centre is the best of a few rows drawn by their squared distance."""
    tries = 2 + int(math.log(clusters))
    chosen = [int(random.integers(len(x)))]
    square = x.square().sum(dim=1)
    nearest = _square_distance(x, square, x[chosen])[:, 0]
    for _ in range(clusters - 1):
        rise = nearest.double().cumsum(0)
        if not float(rise[-1]) > 0:  # fewer distinct rows than clusters
            chosen.append(int(random.integers(len(x))))
            continue
        at = torch.from_numpy(random.random(tries)).to(x.device) * rise[-1]
        rows = torch.searchsorted(rise, at).clamp_max(len(x) - 1)
        closer = torch.minimum(_square_distance(x, square, x[rows]), nearest[:, None])
        best = int(closer.double().sum(dim=0).argmin())
        chosen.append(int(rows[best]))
        nearest = closer[:, best]
    return x[chosen]


def _lloyd(x: Tensor, centres: Tensor, iterations: int, chunk: int) -> Clusters:
    assignment, distance = _nearest(x, centres, chunk)
    for _ in range(iterations):
        centres = _means(x, centres, assignment, distance)
        before = assignment
        assignment, distance = _nearest(x, centres, chunk)
        if torch.equal(before, assignment):
            break
    inertia = float((x - centres[assignment]).double().square().sum())
    return Clusters(assignment=assignment, centres=centres, inertia=inertia)


def _means(x: Tensor, centres: Tensor, assignment: Tensor, distance: Tensor) -> Tensor:
    """[K, D]: the mean of each cluster; an empty one moves to a row that is far from its centre."""
    sums = torch.zeros(centres.shape, dtype=torch.float64, device=x.device)
    sums.index_add_(0, assignment, x.double())
    counts = torch.bincount(assignment, minlength=len(centres))
    means = (sums / counts.clamp_min(1)[:, None]).float()
    empty = (counts == 0).nonzero()[:, 0]
    if len(empty):
        means[empty] = x[distance.topk(len(empty)).indices]
    return means


def _nearest(x: Tensor, centres: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    square = x.square().sum(dim=1)
    found = [
        _square_distance(part, norm, centres).min(dim=1)
        for part, norm in zip(x.split(chunk), square.split(chunk), strict=True)
    ]
    return torch.cat([f.indices for f in found]), torch.cat([f.values for f in found])


def _square_distance(x: Tensor, square: Tensor, centres: Tensor) -> Tensor:
    """[N, K] of x [N, D] with squared lengths [N] and centres [K, D]."""
    return (square[:, None] - 2 * x @ centres.T + centres.square().sum(dim=1)).clamp_min(0)


def _table(a: Tensor, b: Tensor) -> Tensor:
    """[A, B] float64: how many rows have each pair of clusters."""
    if a.ndim != 1 or a.shape != b.shape or not len(a):
        raise UsageError(
            f"The two groupings have shapes {tuple(a.shape)} and {tuple(b.shape)}; wanted a "
            "cluster of each of the same rows. Give two assignments of one set of samples."
        )
    first, second = (torch.unique(side, return_inverse=True)[1].cpu() for side in (a, b))
    columns = int(second.max()) + 1
    counts = torch.bincount(first * columns + second, minlength=(int(first.max()) + 1) * columns)
    return counts.view(-1, columns).double()


def _pairs(counts: Tensor) -> float:
    return float((counts * (counts - 1)).sum()) / 2


def _entropy(p: Tensor) -> float:
    return float(torch.special.entr(p).sum())
