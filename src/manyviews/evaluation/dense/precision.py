"""Average precision of boxes, as COCO defines it, by its authors' own package."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from manyviews.core.extras import lacking
from manyviews.evaluation.dense.boxed import Boxes
from manyviews.evaluation.intervals import bootstrap_of
from manyviews.evaluation.result import Estimate

MEASURES = ("AP", "AP50", "AP75")
RESAMPLES = 200
"""Draws of images for an interval."""


@dataclass(frozen=True)
class FoundBoxes:
    """What a detector says of one image.

    Attributes:
        xyxy: [n, 4] in pixels of the image, as in `Boxes`.
        kinds: [n] int64.
        scores: [n], the surest the highest.
    """

    xyxy: Tensor
    kinds: Tensor
    scores: Tensor


def tools() -> tuple[Any, Any]:
    """COCO and COCOeval of pycocotools.

    Raises:
        UsageError: it is not installed.
    """
    try:
        from pycocotools.coco import COCO  # pyright: ignore[reportMissingImports] - an extra
        from pycocotools.cocoeval import COCOeval  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise lacking("Average precision of boxes", "pycocotools", "detection") from None
    return COCO, COCOeval


def box_precision(
    found: Sequence[FoundBoxes], there: Sequence[Boxes], *, kinds: int
) -> dict[str, Estimate]:
    """AP over overlaps of 0.5 to 0.95, at 0.5 and at 0.75, with intervals over images.

    The mean over kinds of which there is a box, of up to 100 detections an image.

    Args:
        found: of each image.
        there: of the same images.
        kinds: how many there are.

    Raises:
        UsageError: pycocotools is not installed.
    """
    _, evaluator = tools()
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it is doing
        judge = evaluator(_listed(there, kinds), _listed(found, kinds), "bbox")
        judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
        judge.params.maxDets = [100]
        judge.evaluate()
        images, each = len(there), list(judge.evalImgs)

        def scores(rows: Sequence[int]) -> list[float]:
            judge.evalImgs = [each[k * images + row] for k in range(kinds) for row in rows]
            judge.accumulate()
            precision = torch.from_numpy(judge.eval["precision"])[..., 0, 0]  # [T, R, K]
            some = precision[:, :, (precision >= 0).all(dim=0).all(dim=0)]
            if not some.numel():
                return [0.0] * len(MEASURES)  # no image that was drawn has a box
            return [float(some.mean()), float(some[0].mean()), float(some[5].mean())]

        values = scores(range(images))
        intervals = bootstrap_of(
            lambda rows: torch.tensor([scores(row.tolist()) for row in rows]),
            values,
            images,
            resamples=RESAMPLES,
        )
    return dict(zip(MEASURES, intervals, strict=True))


def _listed(of: Sequence[Boxes] | Sequence[FoundBoxes], kinds: int) -> Any:
    """Boxes as COCO's index of annotations; ids begin at 1, since 0 would be no match."""
    coco, _ = tools()
    listed = coco()
    annotations: list[dict[str, Any]] = []
    listed.dataset = {
        "images": [{"id": i} for i in range(len(of))],
        "categories": [{"id": k} for k in range(kinds)],
        "annotations": annotations,
    }
    for image, one in enumerate(of):
        sides = one.xyxy[:, 2:] - one.xyxy[:, :2]
        beside = (
            [{"score": score, "iscrowd": 0} for score in one.scores.tolist()]
            if isinstance(one, FoundBoxes)
            else [{"iscrowd": int(crowd), "ignore": int(crowd)} for crowd in one.crowd.tolist()]
        )
        rows = zip(one.xyxy.tolist(), sides.tolist(), one.kinds.tolist(), beside, strict=True)
        for (left, top, *_), (width, height), kind, more in rows:
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image}
                | {"category_id": kind, "bbox": [left, top, width, height]}
                | {"area": width * height, **more}
            )
    listed.createIndex()
    return listed
