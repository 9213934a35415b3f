"""Several labels an image: one-vs-rest logistic probes and mean average precision."""

import time
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core import UsageError
from manyviews.evaluation.intervals import bootstrap_of
from manyviews.evaluation.linear import DECAYS, standardiser
from manyviews.evaluation.result import Estimate, Result, check_pair
from manyviews.evaluation.solver import Solver, sigmoid

_CELLS = 2**22  # weights of resampled test examples at a time


def multilabel_protocol(
    train_x: Tensor,
    train_y: Tensor,
    test_x: Tensor,
    test_y: Tensor,
    *,
    decays: Sequence[float] = DECAYS,
    resamples: int = 500,
    seed: int = 0,
) -> Result:
    """A yes-or-no logistic probe for each label on standardised features; mAP over the labels.

    The L2 penalty, one for all labels, is chosen by mAP on a random 10 % of the training images;
    then all are learnt from. The second measure is VOC2007's 11-point mAP. Intervals are of the
    bootstrap over test images. Labels without a positive in the training or the test part are left
    out with a note.

    Args:
        train_x: [N, D] float.
        train_y: [N, C] bool.
        test_x: [Q, D] float.
        test_y: [Q, C] bool.
        decays: L2 penalties to choose from.
        resamples: of the bootstrap.
        seed: of the held-out part.

    Raises:
        UsageError: features or labels that cannot be used; no label with positives in both parts.
    """
    check_pair(train_x, test_x)
    _check("training", train_y, len(train_x))
    _check("test", test_y, len(test_x))
    if train_y.shape[1] != test_y.shape[1]:
        raise UsageError(
            f"The training samples have {train_y.shape[1]} labels, the test samples "
            f"{test_y.shape[1]}; wanted the same."
        )
    began = time.perf_counter()
    device = train_x.device
    train_y, test_y = train_y.to(device).bool(), test_y.to(device).bool()
    usable, notes = _usable(train_y, test_y)
    train_y, test_y = train_y[:, usable], test_y[:, usable]
    mean, scale = standardiser(train_x.float())
    x = (train_x.float() - mean) * scale
    decay, start = decays[0], None
    if len(decays) > 1:
        decay, start = _choose(x, train_y, decays, seed)
    solver = Solver(x, train_y, classes=train_y.shape[1], partition=sigmoid)
    scores = F.linear((test_x.to(device).float() - mean) * scale, *solver.fit(decay, start))
    measures = _measures(scores, test_y, resamples=resamples)
    return Result(
        protocol="multilabel",
        version=1,
        train=len(train_y),
        n=len(test_y),
        classes=train_y.shape[1],
        measures=measures,
        seconds=time.perf_counter() - began,
        settings={"decay": decay, "seed": seed},
        notes=tuple(notes),
    )


def average_precision(
    scores: Tensor, relevant: Tensor, counts: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Average precision and VOC2007's 11-point one, of one label in several samples of the images.

    Images of equal score count as one step, so constant scores get the share of positives.

    Args:
        scores: [N] float.
        relevant: [N] bool.
        counts: [R, N], how often each sample holds each image; once each where it is left out.

    Returns:
        Two [R] float64; NaN for samples without a positive.

    Source: sum of (R_n - R_(n-1)) P_n over distinct scores; Everingham et al., IJCV 2010, eq. 3.
    """
    order = scores.argsort(descending=True)
    scores, hit = scores[order], relevant[order].double()
    count = scores.new_ones(1, len(scores)) if counts is None else counts[:, order]
    count = count.double()
    found = (count * hit).cumsum(dim=1)
    # a step ends where the score changes
    ends = torch.cat([scores[1:] != scores[:-1], scores.new_ones(1, dtype=torch.bool)])
    steps = torch.cat([ends.new_zeros(1), ends[:-1]]).long().cumsum(0)
    ends = ends.nonzero().flatten()
    precision = found[:, ends] / count.cumsum(dim=1)[:, ends].clamp_min(1)
    positives = found[:, -1:]
    mean = (count * hit * precision[:, steps]).sum(dim=1) / positives[:, 0]
    best = precision.flip(1).cummax(dim=1).values.flip(1)
    # 1e-9: recall 0.3 of 10 positives is 3, whatever 0.3 * 10 rounds to
    levels = torch.arange(11, dtype=torch.float64, device=scores.device) / 10 * positives - 1e-9
    first = torch.searchsorted(found[:, ends].contiguous(), levels)
    points = best.gather(1, first).mean(dim=1)
    return mean, torch.where(positives[:, 0] > 0, points, torch.nan)


def _measures(scores: Tensor, relevant: Tensor, *, resamples: int) -> dict[str, Estimate]:
    """Both means over the labels, with intervals over the images."""
    n, labels = relevant.shape

    def means(counts: Tensor | None) -> Tensor:
        found = [average_precision(scores[:, c], relevant[:, c], counts) for c in range(labels)]
        return torch.stack([torch.stack(ap, dim=1) for ap in found]).nanmean(dim=0)

    def drawn(rows: Tensor) -> Tensor:
        parts: list[Tensor] = []
        for part in rows.to(scores.device).split(max(1, _CELLS // n)):
            ones = torch.ones_like(part, dtype=torch.float32)
            counts = ones.new_zeros(len(part), n).scatter_add_(1, part, ones)
            parts.append(means(counts))
        return torch.cat(parts)

    values = means(None)[0].tolist()
    estimates = bootstrap_of(drawn, values, n, resamples=resamples)
    return dict(zip(("mAP", "mAP (VOC07, 11 points)"), estimates, strict=True))


def _choose(
    x: Tensor, y: Tensor, decays: Sequence[float], seed: int
) -> tuple[float, tuple[Tensor, Tensor] | None]:
    """The penalty with the best mAP on held-out images, and its weights."""
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed)).to(x.device)
    held, rest = order[: len(x) // 10], order[len(x) // 10 :]
    if not y[held].any():
        held = rest = order  # too few images to spare any: judge on the fitted ones
    solver = Solver(x[rest], y[rest], classes=y.shape[1], partition=sigmoid)
    asked = y[held].any(dim=0).nonzero().flatten().tolist()
    best, chosen, kept, start = -1.0, decays[0], None, None
    for decay in sorted(decays, reverse=True):
        start = solver.fit(decay, start, tolerance=1e-4 * y.shape[1])
        scores = F.linear(x[held], *start)
        found = [average_precision(scores[:, c], y[held, c])[0] for c in asked]
        value = float(torch.stack(found).mean())
        if value > best:
            best, chosen, kept = value, decay, start
    return chosen, kept


def _usable(train_y: Tensor, test_y: Tensor) -> tuple[Tensor, list[str]]:
    """Labels [C'] with positives in both parts; and a line about the others."""
    learnt, tested = train_y.any(dim=0), test_y.any(dim=0)
    usable = (learnt & tested).nonzero().flatten()
    notes = [
        f"Left out: {int((~has).sum())} of {len(has)} labels with no positive in the {part} part "
        f"(first: label number {int((~has).nonzero()[0])}, counted from 0 in sorted order)."
        for part, has in (("training", learnt), ("test", tested))
        if not has.all()
    ]
    if not len(usable):
        raise UsageError(
            f"None of the {len(learnt)} labels has a positive in both the training and the test "
            "part. Give more samples, or another split."
        )
    return usable, notes


def _check(name: str, labels: Tensor, rows: int) -> None:
    if labels.ndim != 2 or len(labels) != rows or bool(((labels != 0) & (labels != 1)).any()):
        raise UsageError(
            f"The {name} labels are {labels.dtype} of shape {tuple(labels.shape)}; multilabel "
            f"wants 0 or 1 of shape [{rows}, labels]. Name the labels of each image in a CSV of "
            "path,labels, joined by |."
        )
