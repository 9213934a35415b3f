"""Which samples a page shows: those that are like no other, those that are alike, and groups."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from manyviews.diagnosis.grouping import kmeans
from manyviews.reports.maps import Vectors, unit

MOST = 12
"""Groups at the most: colours that can still be told apart."""
LEAST = 20
"""Samples from which groups are looked for."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Samples of one cluster.

    Attributes:
        size: how many there are.
        typical: rows, the one nearest to the centre first.
    """

    size: int
    typical: Sequence[int]


def lonely(features: Vectors, *, count: int = 8, near: int = 5) -> list[tuple[int, float]]:
    """Rows that are least like their nearest others, the loneliest first.

    Args:
        features: [N, D].
        count: rows.
        near: others over whose cosine (of centred features) the mean is taken.

    Returns:
        (row, mean cosine); empty with fewer than `near` + 2 rows.
    """
    if len(features) < near + 2:
        return []
    cosine = _cosines(features)
    mean = np.partition(cosine, -near, axis=1)[:, -near:].mean(axis=1)
    return [(int(i), float(mean[i])) for i in np.argsort(mean, kind="stable")[:count]]


def alike(
    features: Vectors, *, count: int = 8, least: float = 0.98
) -> list[tuple[int, int, float]]:
    """Pairs of rows that are nearly the same, the nearest first; no row is in two of them.

    Args:
        features: [N, D].
        count: pairs.
        least: cosine of centred features from which two are shown.

    Returns:
        (row, row, cosine).
    """
    cosine = np.triu(_cosines(features), 1)
    found: list[tuple[int, int, float]] = []
    used: set[int] = set()
    rows, columns = np.nonzero(cosine >= least)
    for place in np.argsort(-cosine[rows, columns], kind="stable"):
        one, other = int(rows[place]), int(columns[place])
        if len(found) < count and not used & {one, other}:
            used |= {one, other}
            found.append((one, other, float(cosine[one, other])))
    return found


def groups(features: Vectors, *, shown: int = 8) -> tuple[list[Cluster], NDArray[np.int64]]:
    """k-means clusters of centred features of length 1, the largest first.

    Their number is the square root of half the rows, at most `MOST`: a way to look through many
    samples, no claim that there are so many kinds.

    Args:
        features: [N, D].
        shown: typical rows of each.

    Returns:
        The groups, and the group of each row [N]; none with fewer than `LEAST` rows.
    """
    if len(features) < LEAST:
        return [], np.zeros(len(features), dtype=np.int64)
    rows = unit(features - features.mean(axis=0))
    count = min(MOST, round((len(rows) / 2) ** 0.5))
    found = kmeans(torch.from_numpy(rows), clusters=count)
    of, centres = found.assignment.numpy(), found.centres.numpy()
    order = np.argsort(-np.bincount(of, minlength=count), kind="stable")
    place = np.empty(count, dtype=np.int64)
    place[order] = np.arange(count)
    made: list[Cluster] = []
    for old in order:
        members = np.nonzero(of == old)[0]
        apart = np.linalg.norm(rows[members] - centres[old], axis=1)
        typical = members[np.argsort(apart, kind="stable")[:shown]]
        made.append(Cluster(size=len(members), typical=[int(row) for row in typical]))
    return [group for group in made if group.size], place[of]


def _cosines(features: Vectors) -> NDArray[np.float32]:
    """[N, N] of centred features; of a row with itself -1, which no other beats."""
    rows = unit(features - features.mean(axis=0))
    cosine = rows @ rows.T
    np.fill_diagonal(cosine, -1)
    return cosine
