"""CLID: how well clusters of features can be learned, and how many dimensions features have."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from manyviews.core import UsageError
from manyviews.diagnosis.grouping import kmeans
from manyviews.diagnosis.neighbours import twonn
from manyviews.diagnosis.spectrum import check_features
from manyviews.diagnosis.uniformity import unit

_FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class Clid:
    """The two parts of CLID, of one encoder; `combine` makes one number of them per encoder.

    Attributes:
        learnability: accuracy with which neighbours tell a row's cluster, 0 to 1.
        dimension: intrinsic dimension by TwoNN.
    """

    learnability: float
    dimension: float


def clid(
    features: Tensor, *, clusters: int = 100, k: int = 10, seed: int = 0, chunk: int = 1024
) -> Clid:
    """Cluster learnability and intrinsic dimension, Lu et al. 2023 (TMLR; arXiv:2206.01251).

    Args:
        features: [N, D]; 10,000 rows or more for steady figures.
        clusters: of k-means; about as many as classes are expected.
        k: neighbours that vote.
        seed: of k-means and the folds.
        chunk: rows compared at a time; does not change the result.

    Raises:
        UsageError: unusable features, or too few rows for `clusters`, `k` or TwoNN.
    """
    learnability = cluster_learnability(features, clusters=clusters, k=k, seed=seed, chunk=chunk)
    return Clid(learnability=learnability, dimension=twonn(features, chunk=chunk))


def cluster_learnability(
    features: Tensor,
    *,
    clusters: int,
    k: int = 10,
    seed: int = 0,
    protocol: Literal["held-out", "prequential"] = "held-out",
    chunk: int = 1024,
) -> float:
    """Accuracy of a nearest-neighbour classifier that predicts the clusters of k-means.

    Lu et al. 2023. "held-out" is the published definition, mean accuracy on rows that the
    classifier has not seen; the folds, five, are ours. "prequential" is that of the paper's first
    versions, given up for depending on the order of rows: each row is predicted from those before
    it, in an order drawn from the seed. Features are normalised to length 1.

    Args:
        features: [N, D].
        clusters: K of k-means.
        k: neighbours that vote; of clusters with equal votes the one with the nearest row wins.
        seed: of k-means and of the order.
        protocol: of the two above.
        chunk: rows compared at a time; does not change the result.

    Returns:
        0 to 1; 1 also where all rows are equal and so in one cluster.

    Raises:
        UsageError: unusable features, more clusters than rows, or too few rows for k.
    """
    check_features(features)
    n = len(features)
    if not 1 <= k <= n * (_FOLDS - 1) // _FOLDS or n < _FOLDS:
        raise UsageError(
            f"Cluster learnability has {n} rows for k = {k} neighbours; wanted {_FOLDS} rows or "
            f"more and k from 1 to {n * (_FOLDS - 1) // _FOLDS}. Give more samples, or a smaller k."
        )
    order = torch.from_numpy(np.random.default_rng(seed).permutation(n)).to(features.device)
    z = unit(features)[order]
    ids = kmeans(z, clusters=clusters, seed=seed).assignment
    place = torch.arange(n, device=z.device)
    right, asked = 0, 0
    for rows in place.split(chunk):
        similarity = z[rows] @ z.T
        if protocol == "prequential":
            unseen = place >= rows[:, None]
        else:
            unseen = place % _FOLDS == rows[:, None] % _FOLDS
        predicted = _vote(similarity.masked_fill(unseen, -torch.inf), ids, k, clusters)
        known = ~unseen.all(dim=1)
        right += int((predicted == ids[rows])[known].sum())
        asked += int(known.sum())
    return right / asked


def combine(runs: Sequence[Clid]) -> list[float]:
    """CLID of each of several encoders: the sum of its two parts, each standardised across them.

    Lu et al. 2023. The sign of the dimension is contested: here, as in the paper, more is better;
    IdEst (arXiv:2606.03338) finds less better.

    Returns:
        One number per run, in order, of mean 0; it means nothing outside this set of runs. A part
        that is the same for all runs adds 0.

    Raises:
        UsageError: fewer than two runs.
    """
    if len(runs) < 2:
        raise UsageError(
            f"CLID is standardised across runs; wanted 2 or more, got {len(runs)}. Compare runs."
        )
    parts = [
        _standardised([run.learnability for run in runs]),
        _standardised([run.dimension for run in runs]),
    ]
    return [sum(pair) for pair in zip(*parts, strict=True)]


def _vote(similarity: Tensor, ids: Tensor, k: int, clusters: int) -> Tensor:
    """[n] int64: the cluster that most of the k most similar known rows [n, N] have."""
    near = similarity.topk(min(k, similarity.shape[1]), dim=1)
    # Less than one vote in all, so that it decides between equal votes only.
    bonus = torch.linspace(1, 0, near.values.shape[1], device=ids.device) / (2 * k)
    bonus[1:] = 0.0
    weight = torch.isfinite(near.values) * (1 + bonus)
    votes = torch.zeros(len(similarity), clusters, device=ids.device)
    return votes.scatter_add_(1, ids[near.indices], weight).argmax(dim=1)


def _standardised(values: list[float]) -> list[float]:
    mean, spread = statistics.fmean(values), statistics.pstdev(values)
    return [(value - mean) / spread if spread > 0 else 0.0 for value in values]
