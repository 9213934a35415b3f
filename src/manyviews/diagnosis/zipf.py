"""How far the sizes of clusters are from Zipf's law: ELo's measure of features without labels."""

import torch
from torch import Tensor

from manyviews.core import UsageError
from manyviews.diagnosis.grouping import kmeans
from manyviews.diagnosis.spectrum import check_features


def zipf_divergence(
    features: Tensor,
    *,
    clusters: int = 64,
    exponent: float = 1.0,
    width: float = 0.0,
    repeats: int = 3,
    seed: int = 0,
) -> float:
    """The Kullback-Leibler divergence of clusters' sizes from Zipf's law; 0 is the law itself.

    Each row belongs to every cluster in part (`soft_sizes`), by the centres of k-means. Only the
    sizes are looked at: any clusters of such sizes are as good, also ones that mean nothing.

    Args:
        features: [N, D], N at least `clusters`.
        clusters: K.
        exponent: s of the law, q_i = i^-s / sum_n n^-s.
        width: see `soft_sizes`; 0 for the mean squared distance of a row to its nearest centre, so
            that neither scale nor dimensions matter. The paper has 1.
        repeats: k-means from so many starts, averaged.
        seed: of the first.

    Raises:
        UsageError: unusable features, or fewer rows than clusters.

    Source: Piergiovanni et al. 2020 (ELo), arXiv:2002.12177, the unsupervised objective.
    """
    if repeats < 1:
        raise UsageError(f"{repeats} repeats of k-means; wanted 1 or more.")
    found: list[float] = []
    for repeat in range(repeats):
        fitted = kmeans(features, clusters=clusters, seed=seed + repeat)
        spread = width or fitted.inertia / len(features)
        sizes = soft_sizes(features, fitted.centres, width=spread)
        found.append(from_zipf(sizes, exponent=exponent))
    return sum(found) / repeats


def soft_sizes(features: Tensor, centres: Tensor, *, width: float) -> Tensor:
    """[K] float64 that sum to 1, the largest first: the share of rows that each cluster has.

    Row x is in cluster i by the share softmax_i(-|x - c_i|^2 / width), which a mixture of equal
    Gaussians of variance width / 2 gives. Where the width is 0, in its nearest one alone.

    Args:
        features: [N, D].
        centres: [K, D].
        width: 0 or more.
    """
    check_features(features)
    squared = torch.cdist(features.double(), centres.double()).square()
    if width > 0:
        shares = (-squared / width).softmax(dim=1).mean(dim=0)
    else:
        shares = squared.argmin(dim=1).bincount(minlength=len(centres)).double() / len(features)
    return shares.sort(descending=True).values


def from_zipf(sizes: Tensor, *, exponent: float) -> float:
    """sum_i p_i ln(p_i / q_i) of sizes p [K], the largest first, and q_i = i^-s / sum_n n^-s."""
    p = sizes.double() / sizes.double().sum()
    law = torch.arange(1, len(p) + 1, dtype=torch.float64).pow(-exponent)
    q = law / law.sum()
    return float(-torch.special.entr(p).sum() - (p * q.log()).sum())
