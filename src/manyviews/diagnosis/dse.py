"""DSE: whether the features of patches keep things apart, without labels."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core.errors import UsageError
from manyviews.diagnosis.grouping import kmeans
from manyviews.diagnosis.rank import effective_rank

IN_IMAGE, IN_GROUP, GROUP = 3, 24, 8
"""Clusters of an image's patches, and of those of so many images together: the README's."""
WINDOW, TOP = 2, 3
"""A checkpoint is a candidate as the best of so many on both sides; so many are named."""


@dataclass(frozen=True, kw_only=True)
class DenseStructure:
    """The parts of DSE; lengths are in units of the mean distance of a patch to the mean of all.

    Attributes:
        apart: distance of a patch to the nearest centre of another cluster.
        within: how far clusters spread: the mean of those of single images and of groups.
        patch_dimension: effective rank of patches of different images, over the most that it
            could be.
    """

    apart: float
    within: float
    patch_dimension: float

    @property
    def patch_separation(self) -> float:
        """How far apart clusters are beyond what they spread: falls as dense features degrade."""
        return self.apart - self.within

    @property
    def dse(self) -> float:
        """Higher is better, within one training of one encoder."""
        return self.patch_separation + self.patch_dimension


def dense_structure(
    patches: Tensor,
    *,
    in_image: int = IN_IMAGE,
    in_group: int = IN_GROUP,
    group: int = GROUP,
    seed: int = 0,
) -> DenseStructure:
    """DSE and its parts, of the patches of some images.

    Patches are normalised to length 1. A cluster's spread is the nuclear norm of its centred
    patches over the root of the larger of their number less one and D.

    Args:
        patches: [B, N, D] of B images; B stays the same where values are compared.
        in_image: clusters of the patches of one image.
        in_group: clusters of the patches of a group.
        group: images together; what is left over is in none.
        seed: of k-means, and of which patch stands for which place.

    Raises:
        UsageError: fewer than a group of images, fewer patches than clusters, patches that are all
            the same, or NaN.

    Source: "Exploring structural degradation in dense representations for self-supervised
    learning" (2510.17299); EldercatSAM/SSL-Degradation@b75fd51 estimator.py, with its weight of
    the dimension, 1. k-means is ours (50 steps, greedy k-means++).
    """
    images, count, dim = patches.shape
    if images < group or count * group < in_group or count < in_image:
        raise UsageError(
            f"DSE has {images} images of {count} patches; wanted {group} images or more, and "
            f"{max(in_image, -(-in_group // group))} patches or more of each. Give more images."
        )
    x = F.normalize(patches.float(), dim=2)
    flat = x.flatten(0, 1)
    unit = float((flat - flat.mean(dim=0)).norm(dim=1).mean())
    if not unit > 1e-6:
        raise UsageError("DSE has no length to measure in: all patches are the same, or NaN.")
    single = [_clusters(one, in_image, seed)[1] for one in x]
    groups = [
        _clusters(some.flatten(0, 1), in_group, seed)
        for some in x.split(group)
        if len(some) == group
    ]
    apart = sum(distance for distance, _ in groups) / len(groups)
    together = sum(spread for _, spread in groups) / len(groups)
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(images, count, generator=generator).argsort(dim=1)
    mixed = x.gather(1, order.to(x.device)[..., None].expand_as(x))
    ranks = [effective_rank(mixed[:, place], centred=False) for place in range(count)]
    return DenseStructure(
        apart=apart / unit,
        within=0.5 * (sum(single) / images + together) / unit,
        patch_dimension=sum(ranks) / count / min(images, dim),
    )


def _clusters(x: Tensor, clusters: int, seed: int) -> tuple[float, float]:
    """Mean distance to the nearest centre of another cluster, and mean spread of clusters."""
    found = kmeans(x, clusters=clusters, seed=seed)
    distances = torch.cdist(x, found.centres)
    distances.scatter_(1, found.assignment[:, None], torch.inf)
    spreads = [_spread(x[found.assignment == i]) for i in range(clusters)]
    known = [spread for spread in spreads if spread is not None]
    return float(distances.amin(dim=1).mean()), sum(known) / max(1, len(known))


def _spread(x: Tensor) -> float | None:
    """Nuclear norm of centred rows [n, D] over sqrt(max(n - 1, D)); None of fewer than 2."""
    if len(x) < 2:
        return None
    values = torch.linalg.svdvals(x - x.mean(dim=0))
    return float(values.sum()) / max(len(x) - 1, x.shape[1]) ** 0.5


def dense_candidates(history: Mapping[int, float]) -> list[int]:
    """The steps at which dense features may be best, by DSE: up to `TOP`, the best first.

    They are those that no checkpoint within `WINDOW` of them exceeds. The authors choose among
    them with a few labels: DSE may rise again, late, where dense features do not.

    Args:
        history: step -> DSE, of the same images.
    """
    steps = sorted(history)
    found = [
        step
        for i, step in enumerate(steps)
        if history[step] == max(history[s] for s in steps[max(0, i - WINDOW) : i + WINDOW + 1])
    ]
    return sorted(found, key=lambda step: -history[step])[:TOP]
