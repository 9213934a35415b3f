"""CorLoc: in how many images a single box frames a thing, of whatever kind."""

import time
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from manyviews.core import UsageError
from manyviews.evaluation.dense.boxed import Boxes
from manyviews.evaluation.result import Result, accuracy

OVERLAP = 0.5
"""Intersection over union with a thing's box from which it is found (Simeoni et al. 2021, LOST)."""


def overlaps(box: Tensor, boxes: Tensor) -> Tensor:
    """Intersection over union [n] of one box [4] with others [n, 4]: left, top, right, bottom."""
    inner = torch.minimum(box[2:], boxes[:, 2:]) - torch.maximum(box[:2], boxes[:, :2])
    shared = inner.clamp_min(0).prod(dim=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    return shared / ((box[2:] - box[:2]).prod() + areas - shared)


def corloc(found: Mapping[str, Tensor], there: Sequence[Boxes]) -> Result:
    """The share of images in which a way of finding one object frames any of the things.

    Crowds are no things, and images without a thing are left out.

    Args:
        found: way -> its box in each image, [N, 4] in pixels.
        there: the boxes of each.

    Raises:
        UsageError: no image has a thing.
    """
    began = time.perf_counter()
    rows = [i for i, one in enumerate(there) if not one.crowd.all()]
    if not rows:
        raise UsageError("No image has a box around a single thing. Give some that have.")

    def right(boxes: Tensor) -> int:
        things = ((boxes[i], there[i].xyxy[~there[i].crowd]) for i in rows)
        return sum(bool((overlaps(box, some) >= OVERLAP).any()) for box, some in things)

    left = len(there) - len(rows)
    return Result(
        protocol="discovery",
        version=1,
        train=0,
        n=len(rows),
        classes=0,
        measures={
            f"CorLoc of {way}": accuracy(right(boxes), len(rows)) for way, boxes in found.items()
        },
        seconds=time.perf_counter() - began,
        settings={"overlap": OVERLAP},
        notes=(f"{left} images have no box and are left out",) if left else (),
    )
