"""How far each augmentation, by itself, moves the features of an image."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core import UsageError
from manyviews.diagnosis.spectrum import check_features

_NORMAL = 1.959963984540054
"""Of a normal distribution 95 % lies within so many deviations."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """What one augmentation does to features.

    Attributes:
        change: mean distance between an image and its changed self over the mean distance between
            two images: 0 invariant, 1 as far as another image.
        low: end of the 95 % interval of `change` over the draw of images.
        high: its other end.
        cosine: mean cosine between an image and its changed self, centred.
    """

    change: float
    low: float
    high: float
    cosine: float


def invariance(
    plain: Tensor, changed: Mapping[str, Tensor], *, chunk: int = 1024
) -> dict[str, Bar]:
    """A bar for each augmentation.

    Features are centred on the mean of the plain ones, which the ReLU and the large common
    direction of vision transformers would otherwise make alike, then normalised to length 1.
    Distances are Euclidean; intervals are the delta method's for a ratio of means.

    Args:
        plain: [N, D], features of the plain views, of different images.
        changed: name -> [N, D], of the same images with one augmentation
            (see `views.image.single`).
        chunk: rows compared at a time; does not change the result.

    Raises:
        UsageError: unusable features, one image, shapes that differ, or images that all have the
            same features, so that there is nothing to compare with.
    """
    check_features(plain)
    n = len(plain)
    if n < 2:
        raise UsageError("Invariance compares with other samples; wanted 2 or more, got 1.")
    mean = plain.double().mean(dim=0)
    z = _directions(plain, mean)
    others = _between(z, chunk)
    between = float(others.mean())
    if not between > 0:
        raise UsageError(
            f"All {n} samples have the same features, so a change has nothing to be compared "
            "with: the encoder collapsed. Diagnose an earlier checkpoint."
        )
    bars: dict[str, Bar] = {}
    for name, features in changed.items():
        check_features(features)
        if features.shape != plain.shape:
            raise UsageError(
                f"Features of '{name}' have shape {tuple(features.shape)} and plain ones "
                f"{tuple(plain.shape)}; wanted the same samples through the same encoder."
            )
        bars[name] = _bar(z, _directions(features, mean), others)
    return bars


def _bar(z: Tensor, moved: Tensor, others: Tensor) -> Bar:
    distance = (z - moved).norm(dim=1)
    between = float(others.mean())
    change = float(distance.mean()) / between
    # An image's part in both means; it belongs to twice as many pairs as it makes rows.
    part = (distance - distance.mean() - 2 * change * (others - between)) / between
    half = _NORMAL * float(part.std()) / math.sqrt(len(z))
    return Bar(
        change=change,
        low=max(0.0, change - half),
        high=change + half,
        cosine=float((z * moved).sum(dim=1).mean()),
    )


def _directions(features: Tensor, mean: Tensor) -> Tensor:
    centred = features.double() - mean
    # Where all images are equal, rounding is no direction.
    noise = 1e-6 * float(mean.norm()) + torch.finfo(torch.float64).tiny
    return F.normalize(torch.where(centred.norm(dim=1, keepdim=True) > noise, centred, 0.0), dim=1)


def _between(z: Tensor, chunk: int) -> Tensor:
    """[N] float64: the mean distance of each row to all others."""
    square = z.square().sum(dim=1)  # 1, or 0 where an image is at the mean
    found: list[Tensor] = []
    for start in range(0, len(z), chunk):
        rows = slice(start, start + chunk)
        distance = (square[rows, None] + square - 2 * z[rows] @ z.T).clamp_min(0).sqrt()
        distance.diagonal(offset=start).zero_()
        found.append(distance.sum(dim=1) / (len(z) - 1))
    return torch.cat(found)
