"""Semantic segmentation from frozen patch features: a linear head, and kNN over patches.

Both are small: images are seen once, as plain views, without augmentation. The head is what
DINOv2 and DINOv3 call linear segmentation, fitted by L-BFGS on patches instead of by 40,000 steps
on random crops; kNN over patches is that of CAPI (2502.08769, facebookresearch/capi@98b4fa1
eval_segmentation.py). Numbers stand beside one another here, not beside published ones.
"""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core import UsageError
from manyviews.evaluation.dense.masked import VOID, middles
from manyviews.evaluation.dense.settings import Segmentation
from manyviews.evaluation.intervals import bootstrap_of
from manyviews.evaluation.linear import linear_probe, standardiser
from manyviews.evaluation.result import Estimate, Result, check_pair

NEIGHBOURS = (1, 3, 10, 30)
"""k of kNN that are tried."""
METRICS = ("cosine", "distance")
HELD = 0.1
"""Of the training images, what settings are chosen on."""
_NAMED = 30
"""With more classes the result lists none by itself."""
_CELLS = 2**24


@dataclass(frozen=True)
class DensePart:
    """Features and classes of the same images.

    Attributes:
        features: [N, T, D] float32, a row a place of the grid.
        classes: [N, S, S] int32 class of every pixel; `VOID` for none.
    """

    features: Tensor
    classes: Tensor


@dataclass(frozen=True)
class Overlap:
    """Of each image and class, in pixels: rightly found, there, and found; each [N, C] float64."""

    right: Tensor
    there: Tensor
    found: Tensor

    def ious(self, count: Tensor | None = None) -> Tensor:
        """IoU [R, C] of images taken `count` times [R, N] (once each without).

        NaN for a class that is neither there nor found.
        """
        right, there, found = self._sums(count)
        return right / (there + found - right)

    def scores(self, count: Tensor | None = None) -> Tensor:
        """[R, 2]: the mean of the IoUs that are numbers, and the share of pixels found rightly."""
        right, there, _ = self._sums(count)
        return torch.stack(
            [self.ious(count).nanmean(dim=1), right.sum(dim=1) / there.sum(dim=1)], dim=1
        )

    def estimates(self) -> list[Estimate]:
        """The mIoU and pixel accuracy, with the intervals of the bootstrap over images."""
        n = len(self.right)

        def drawn(rows: Tensor) -> Tensor:
            count = self.right.new_zeros(len(rows), n)
            # an image without a pixel of a class, drawn alone, says nothing
            return self.scores(count.scatter_add_(1, rows, count.new_ones(rows.shape))).nan_to_num()

        return bootstrap_of(drawn, self.scores()[0].tolist(), n)

    def _sums(self, count: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        count = self.right.new_ones(1, len(self.right)) if count is None else count
        return count @ self.right, count @ self.there, count @ self.found


def overlap(found: Tensor, there: Tensor, classes: int) -> Overlap:
    """Count pixels [N, H, W] int64 of places that have a class; found is 0 to classes - 1."""
    known = there != VOID
    image = torch.arange(len(there))[:, None, None].expand_as(there) * classes

    def count(where: Tensor, of: Tensor) -> Tensor:
        place = (image + of)[where]
        sums = torch.bincount(place, minlength=len(there) * classes)
        return sums.view(len(there), classes).double()

    return Overlap(
        right=count(known & (found == there), there), there=count(known, there),
        found=count(known, found),
    )  # fmt: skip


def segmentation(
    train: DensePart,
    test: DensePart,
    *,
    grid: tuple[int, int],
    settings: Segmentation,
    names: Sequence[str] = (),
) -> Result:
    """The mIoU of a linear head and of kNN over patches, each over all pixels of the test part.

    A patch's class is that of most of its pixels; patches of no class are not learnt from. The
    head's weight decay, k and the metric are chosen on a tenth of the training images.

    Args:
        train: what is learnt from.
        test: what is measured on.
        grid: (rows, columns) of a row of features.
        settings: what is ignored and how much is learnt from.
        names: of class 0, 1, ...; their numbers where there is none.

    Raises:
        UsageError: fewer than 2 classes or images to learn from, or features that cannot be used.
    """
    began = time.perf_counter()
    check_pair(train.features.flatten(0, 1), test.features.flatten(0, 1))
    known = train.classes[train.classes != VOID].unique()
    if len(known) < 2 or len(train.features) < 2:
        raise UsageError(
            f"{len(train.features)} training masks hold {len(known)} classes; wanted 2 or more of "
            "both. Give more images, or take numbers out of --segmentation.ignore."
        )
    if not (test.classes != VOID).any():
        raise UsageError("No test mask has a pixel of a class. See --segmentation.ignore.")
    strange = test.classes[(test.classes != VOID) & ~torch.isin(test.classes, known)].unique()
    numbers = torch.cat([known, strange])
    fitted, tested = (_Patches.of(part, grid, numbers) for part in (train, test))
    bank = _drawn(fitted, settings)
    linear, decay = _linear(bank, tested)
    nearest, k, metric = _nearest(fitted, bank, tested)
    called = dict(enumerate(names))
    said = [called.get(c, str(c)) for c in map(int, numbers.tolist())]
    each = [
        f"{name} = {iou:.3f}" for name, iou in zip(said, linear.ious()[0].tolist(), strict=True)
        if iou == iou
    ]  # fmt: skip
    notes = [f"IoU by class: {', '.join(each)}"] if len(each) <= _NAMED else []
    if len(strange):
        notes.append(f"in no training mask: {', '.join(said[len(known) :])}")
    miou, accuracy = linear.estimates()
    return Result(
        protocol="segmentation",
        version=1,
        train=len(train.features),
        n=len(test.features),
        classes=len(known),
        measures={
            "mIoU": miou,
            "mIoU of kNN": nearest.estimates()[0],
            "pixel accuracy": accuracy,
        },
        seconds=time.perf_counter() - began,
        settings={
            "decay": decay,
            "k": k,
            "metric": metric,
            "patches": len(bank.y),
            "grid": f"{grid[0]}x{grid[1]}",
            "seed": settings.seed,
        },
        notes=tuple(notes),
    )


@dataclass(frozen=True)
class _Patches:
    """A part by patches.

    Attributes:
        x: [N, T, D].
        there: [N, H, W] int64 place of each pixel's class, of patches of one size.
        tiles: [N, T, P] the same, by patch.
        grid: rows and columns.
        classes: C.
    """

    x: Tensor
    there: Tensor
    tiles: Tensor
    grid: tuple[int, int]
    classes: int

    @staticmethod
    def of(part: DensePart, grid: tuple[int, int], numbers: Tensor) -> "_Patches":
        """Numbers of classes become places in `numbers`."""
        side = part.classes.shape[1]
        (rows, columns), (high, wide) = grid, (-(-side // cells) for cells in grid)
        down = middles(side, rows * high)
        across = middles(side, columns * wide)
        there = part.classes[:, down][:, :, across].long()
        sorted_numbers, place = numbers.long().sort()
        at = torch.searchsorted(sorted_numbers, there).clamp(max=len(numbers) - 1)
        there = torch.where(there == VOID, VOID, place[at])
        tiles = there.view(-1, rows, high, columns, wide).transpose(2, 3)
        return _Patches(part.features, there, tiles.flatten(3).flatten(1, 2), grid, len(numbers))


@dataclass(frozen=True)
class _Bank:
    """Patches that are learnt from, of which most pixels have a class.

    Attributes:
        x: [M, D].
        y: [M] int64, the class of most pixels.
        tiles: [M, P] int64.
        held: [M] bool, of an image that settings are chosen on.
        images: [N] bool, those images.
    """

    x: Tensor
    y: Tensor
    tiles: Tensor
    held: Tensor
    images: Tensor


def _drawn(part: _Patches, settings: Segmentation) -> _Bank:
    generator = torch.Generator().manual_seed(settings.seed)
    images = torch.zeros(len(part.x), dtype=torch.bool)
    able = (part.there != VOID).flatten(1).any(dim=1).nonzero().flatten()
    count = max(1, round(HELD * len(able)))
    images[able[torch.randperm(len(able), generator=generator)[:count]]] = True
    tiles = part.tiles.flatten(0, 1)
    parts = tiles.split(2**14)
    y = torch.cat([_tally(some[:, None], part.classes)[:, 0].argmax(dim=1) for some in parts])
    rows = (y < part.classes).nonzero().flatten()
    rows = rows[torch.randperm(len(rows), generator=generator)[: settings.patches]].sort().values
    held = images.repeat_interleave(part.x.shape[1])[rows]
    if len(y[rows].unique()) < 2:
        raise UsageError(
            "All training patches are mostly of one class, so there is nothing to tell apart. "
            "Give an encoder of finer patches (--image-size), or masks of larger things."
        )
    return _Bank(part.x.flatten(0, 1)[rows], y[rows], tiles[rows], held, images)


def _linear(bank: _Bank, test: _Patches) -> tuple[Overlap, float]:
    """The head, whose scores are made as large as the mask before the best is taken."""
    _, probe = linear_probe(bank.x, bank.y, bank.x[:1], held=bank.held)
    found: list[Tensor] = []
    for x, there in zip(test.x.split(16), test.there.split(16), strict=True):
        scores = probe(x.flatten(0, 1)).view(len(x), *test.grid, -1).permute(0, 3, 1, 2)
        size = (there.shape[1], there.shape[2])
        found.append(F.interpolate(scores, size=size, mode="bilinear").argmax(dim=1))
    return overlap(torch.cat(found), test.there, test.classes), probe.decay


def _nearest(train: _Patches, bank: _Bank, test: _Patches) -> tuple[Overlap, int, str]:
    """Each pixel's class by the votes of the same pixel of the nearest patches."""
    mean, scale = standardiser(bank.x)
    x = (bank.x - mean) * scale
    fit = ~bank.held
    if not fit.any():
        fit = torch.ones_like(fit)  # too few images to spare any
    judged = dataclasses.replace(
        train, x=train.x[bank.images], there=train.there[bank.images],
        tiles=train.tiles[bank.images],
    )  # fmt: skip
    tried: dict[tuple[int, str], float] = {}
    for metric in METRICS:
        near = _neighbours(x[fit], (judged.x.flatten(0, 1) - mean) * scale, metric)
        for k in NEIGHBOURS:
            if k <= near.shape[1]:
                found = _painted(near[:, :k], bank.tiles[fit], bank.y[fit], judged)
                tried[k, metric] = float(found.scores()[0, 0].nan_to_num(0))
    k, metric = max(tried, key=lambda setting: tried[setting])
    near = _neighbours(x, (test.x.flatten(0, 1) - mean) * scale, metric)[:, :k]
    return _painted(near, bank.tiles, bank.y, test), k, metric


def _neighbours(bank: Tensor, queries: Tensor, metric: str) -> Tensor:
    """[Q, k] int64 rows of the bank, the nearest first, of as many k as are tried."""
    k = min(max(NEIGHBOURS), len(bank))
    if metric == "cosine":
        bank, queries = F.normalize(bank), F.normalize(queries)
    less = 0.5 * bank.square().sum(dim=1)
    parts = queries.split(max(1, _CELLS // len(bank)))
    return torch.cat([(q @ bank.T - less).topk(k, dim=1).indices for q in parts])


def _painted(near: Tensor, tiles: Tensor, y: Tensor, on: _Patches) -> Overlap:
    """What neighbours [Q, k] say of all pixels of some images, against what is there.

    Where no neighbour has a class for a pixel, it is that of most pixels of the nearest.
    """
    step = max(1, _CELLS // (tiles.shape[1] * (on.classes + 1)))
    found: list[Tensor] = []
    for some in near.split(step):
        most, best = _tally(tiles[some].transpose(1, 2), on.classes)[..., :-1].max(dim=2)
        found.append(torch.where(most > 0, best, y[some[:, :1]]))
    return overlap(torch.cat(found).view(on.tiles.shape), on.tiles, on.classes)


def _tally(classes: Tensor, count: int) -> Tensor:
    """Votes [Q, P, count + 1] of `classes` [Q, P, k]; the last are those for none."""
    sums = torch.zeros(*classes.shape[:2], count + 1, dtype=torch.int16)
    place = torch.where(classes == VOID, count, classes)
    return sums.scatter_add_(2, place, torch.ones_like(place, dtype=torch.int16))
