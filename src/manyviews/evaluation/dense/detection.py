"""Detection: a detector is trained on an encoder, frozen or with it, and tested on other images.

Images are seen whole, squashed to the encoder's square, and boxes with them; what is found is
measured in the pixels of the images as they are.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn

from manyviews.core import Clock, Encoder, Failure, UsageError
from manyviews.core.inputs import Pixels
from manyviews.core.sample import Bytes
from manyviews.core.schedules import WarmupCosine
from manyviews.data.direct import made, opened
from manyviews.data.workers import each
from manyviews.evaluation.dense.boxed import BoxedImages
from manyviews.evaluation.dense.detector import Detector, Trunk
from manyviews.evaluation.dense.precision import FoundBoxes, box_precision, tools
from manyviews.evaluation.dense.settings import Detection
from manyviews.evaluation.features import Embed, Extracted, extract
from manyviews.evaluation.image.partial import param_groups, thaw
from manyviews.evaluation.result import Result
from manyviews.views.by_input import whole_of

_ORDER, _FLIP = 1, 2  # what a stream of random numbers is for


@dataclass(frozen=True)
class Seeing:
    """How images are looked at.

    Attributes:
        input: what the encoder is fed.
        trunk: an encoder as a detector takes it; asked of a copy that trains.
        maps: by a trunk's body, of all images of a part, kept or made: [N, h w, D].
        device: where to compute.
        workers: processes that read ahead.
        progress: told (steps done, steps in all).
    """

    input: Pixels
    trunk: Callable[[Encoder], Trunk]
    maps: Callable[[Embed, BoxedImages], Extracted]
    device: torch.device
    workers: int = 0
    progress: Callable[[int, int], None] | None = None


def detection(
    encoder: Encoder,
    train: BoxedImages,
    test: BoxedImages,
    *,
    seeing: Seeing,
    settings: Detection,
) -> Result:
    """The AP of a detector on an encoder. On one CPU the same call gives the same result.

    Args:
        encoder: copied, so it stays as it is.
        train: what is learnt from.
        test: what is measured on.
        seeing: how images are looked at.
        settings: the recipe.

    Raises:
        UsageError: kinds that training images do not have, or pycocotools is not installed.
        Failure: the loss is no longer a number.
    """
    tools()  # said before an hour's training, not after
    strange = sorted(set(test.names) - set(train.names))
    if strange:
        raise UsageError(
            f"{test.file} has the category {strange[0]}, which {train.file} has not. Give both "
            "the same categories."
        )
    place = torch.tensor([train.names.index(name) for name in test.names])
    began = time.perf_counter()
    device = seeing.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(settings.seed)
        encoder = copy.deepcopy(encoder).to(device).eval()
        thaw(encoder, settings.blocks)
        trunk = seeing.trunk(encoder)
        with torch.inference_mode():
            one = trunk.body(torch.zeros(1, *seeing.input.shape, device=device))
        detector = Detector(
            trunk, one.clone(), kinds=len(train.names), side=seeing.input.side, settings=settings
        ).to(device)
        learnt = _fit(encoder, trunk, detector, train, seeing, settings, grid=one.shape[2:])
        found, rows = _found(trunk, detector, test, seeing, grid=one.shape[2:])
    there = [test.boxes[row] for row in rows]
    there = [type(one)(one.xyxy, place[one.kinds], one.crowd) for one in there]
    trained = {id(p): p.numel() for p in detector.parameters() if p.requires_grad}
    trained |= {id(p): p.numel() for p in encoder.parameters() if p.requires_grad}
    return Result(
        protocol="detection",
        version=1,
        train=learnt,
        n=len(found),
        classes=len(train.names),
        measures=box_precision(found, there, kinds=len(train.names)),
        seconds=time.perf_counter() - began,
        settings=asdict(settings)
        | {
            "detector": "pyramid" if trunk.tail is None else "C4",
            "side": seeing.input.side,
            "trained_parameters": sum(trained.values()),
        },
        notes=(f"{sum(int((~one.crowd).sum()) for one in there)} boxes in the test images",),
    )


def _fit(
    encoder: Encoder,
    trunk: Trunk,
    detector: Detector,
    part: BoxedImages,
    seeing: Seeing,
    settings: Detection,
    *,
    grid: Sequence[int],
) -> int:
    """Train the detector, and of the encoder what is thawed; how many images there were."""
    frozen = settings.blocks == 0
    kind = _Kept if frozen else _Read
    steps = kind(trunk, part, seeing, settings, grid)
    tail = {id(p) for p in encoder.parameters()}
    own = nn.ParameterList(p for p in detector.parameters() if id(p) not in tail)
    groups = param_groups(
        encoder, own, layer_decay=settings.layer_decay if not frozen else 1.0,
        weight_decay=settings.weight_decay,
    )  # fmt: skip
    optimizer = torch.optim.AdamW(groups, lr=0.0)
    schedule = WarmupCosine(settings.lr, warmup=settings.warmup)
    detector.train()
    encoder.eval()  # batch norms keep their statistics, as in detectron2
    for step, (maps, boxes, kinds) in enumerate(steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.at(Clock(step, settings.steps)) * group["lr_scale"]
        optimizer.zero_grad(set_to_none=True)
        loss = detector.loss(maps, boxes, kinds)
        if not math.isfinite(float(loss.detach())):
            raise Failure(
                f"The detector diverged: the loss is {float(loss.detach())} at step {step + 1}, "
                f"with the learning rate {settings.lr:g}. Lower --detection.lr."
            )
        loss.backward()
        optimizer.step()
        if seeing.progress is not None:
            seeing.progress(step + 1, settings.steps)
    return len(part)


_Batch = tuple[Tensor, list[Tensor], list[Tensor]]
"""Maps [B, D, h, w]; of each image its boxes in S x S pixels; and their kinds."""


class _Kept:
    """Batches of maps that are made once."""

    def __init__(
        self,
        trunk: Trunk,
        part: BoxedImages,
        seeing: Seeing,
        settings: Detection,
        grid: Sequence[int],
    ) -> None:
        self._got, self._grid = seeing.maps(trunk.body, part), grid
        self._part, self._seeing, self._settings = part, seeing, settings

    def __iter__(self) -> Iterator[_Batch]:
        index = self._got.index.numpy()
        for step in range(self._settings.steps):
            rows = _drawn(len(index), step, self._settings)
            maps = _maps(self._got.features[rows], self._grid).to(self._seeing.device)
            yield maps, *_boxes(self._part, index[rows].tolist(), self._seeing)


class _Read:
    """Batches of images that are read again in each step, some of them flipped."""

    def __init__(
        self,
        trunk: Trunk,
        part: BoxedImages,
        seeing: Seeing,
        settings: Detection,
        grid: Sequence[int],
    ) -> None:
        del grid
        self._trunk, self._part, self._seeing, self._settings = trunk, part, seeing, settings
        self._pipeline = whole_of(seeing.input)

    def __call__(self, step: int) -> tuple[list[int], Bytes]:
        """What of a step's images can be read, and their views [B, S, S, C]."""
        rows = _drawn(len(self._part), step, self._settings).tolist()
        items, _ = opened(self._part.source, self._pipeline, rows)
        views, _ = made(self._pipeline, items)
        return list(items), views["encoder"][:, 0]

    def __iter__(self) -> Iterator[_Batch]:
        steps = range(self._settings.steps)
        for step, (rows, views) in enumerate(each(self, steps, workers=self._seeing.workers)):
            if not rows:
                continue
            raw = {"encoder": torch.from_numpy(views)[:, None]}
            batch = self._pipeline.finish(raw, {}, torch.tensor(rows), self._seeing.device)
            images = batch.views["encoder"][:, 0]
            boxes, kinds = _boxes(self._part, rows, self._seeing)
            rng = np.random.default_rng([_FLIP, self._settings.seed, step])
            for i in np.flatnonzero(rng.random(len(rows)) < self._settings.flip).tolist():
                images[i] = images[i].flip(-1)
                boxes[i] = flipped(boxes[i], self._seeing.input.side)
            yield self._trunk.body(images), boxes, kinds


def flipped(boxes: Tensor, side: float) -> Tensor:
    """Boxes [n, 4] of an image that is `side` wide, as they lie in its mirror image."""
    left, top, right, bottom = boxes.unbind(1)
    return torch.stack([side - right, top, side - left, bottom], dim=1)


def _drawn(count: int, step: int, settings: Detection) -> np.ndarray:
    """Rows of a step: each image once before any comes again, but for an epoch's rest."""
    size = min(settings.batch_size, count)
    epoch, place = divmod(step, count // size)
    order = np.random.default_rng([_ORDER, settings.seed, epoch]).permutation(count)
    return order[place * size : (place + 1) * size]


def _boxes(
    part: BoxedImages, rows: Sequence[int], seeing: Seeing
) -> tuple[list[Tensor], list[Tensor]]:
    """What is learnt of images, in S x S pixels."""
    boxes: list[Tensor] = []
    kinds: list[Tensor] = []
    for row in rows:
        one = part.boxes[row]
        scale = (seeing.input.side / part.sizes[row]).repeat(2)
        boxes.append((one.xyxy * scale)[~one.crowd].float().to(seeing.device))
        kinds.append(one.kinds[~one.crowd].to(seeing.device))
    return boxes, kinds


def _found(
    trunk: Trunk, detector: Detector, part: BoxedImages, seeing: Seeing, *, grid: Sequence[int]
) -> tuple[list[FoundBoxes], list[int]]:
    """What is found in each readable image, in its own pixels; and their rows."""
    got = seeing.maps(trunk.body, part)
    detector.eval()
    found: list[FoundBoxes] = []
    for some, index in zip(got.features.split(16), got.index.split(16), strict=True):
        maps = _maps(some, grid).to(seeing.device)
        for row, one in zip(index.tolist(), detector.found(maps), strict=True):
            scale = (part.sizes[row] / seeing.input.side).repeat(2)
            found.append(FoundBoxes(one.xyxy * scale, one.kinds, one.scores))
    return found, got.index.tolist()


def _maps(tokens: Tensor, grid: Sequence[int]) -> Tensor:
    """[B, h w, D] -> [B, D, h, w]."""
    return tokens.transpose(1, 2).unflatten(2, tuple(grid))


def maps_of(
    body: Embed,
    part: BoxedImages,
    input: Pixels,
    *,
    batch_size: int,
    device: torch.device,
    workers: int,
    progress: Callable[[int, int], None] | None = None,
) -> Extracted:
    """Maps of whole, squashed images, a row a place: [N, h w, D]."""

    def tokens(x: Tensor) -> Tensor:
        return body(x).flatten(2).transpose(1, 2)

    return extract(
        tokens, part.source, whole_of(input), batch_size=batch_size, device=device,
        progress=progress, workers=workers,
    )  # fmt: skip
