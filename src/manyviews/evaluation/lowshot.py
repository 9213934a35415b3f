"""Few labels: linear probes on several seeded draws of the training labels."""

import time
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from manyviews.core import UsageError
from manyviews.evaluation.intervals import over_draws
from manyviews.evaluation.linear import standardiser
from manyviews.evaluation.result import Estimate, Result, as_text, check_split
from manyviews.evaluation.solver import Solver

SHOTS = (1, 5, 10, 20, 50, 100)
"""Examples of each class."""

SHARES = (0.01, 0.1)
"""Of the training labels, the same share of each class."""

DECAY = 3.0
"""L2 penalty times examples a class: its weight falls as 1 / examples, as a prior's does.

Ten times more or less moves the accuracy on 12,000 Fashion-MNIST images (raw pixels, random
features) by a point or so from 1 to 100 examples a class.
"""


def lowshot_protocol(
    train_x: Tensor,
    train_y: Tensor,
    test_x: Tensor,
    test_y: Tensor,
    *,
    shots: Sequence[int] = SHOTS,
    shares: Sequence[float] = SHARES,
    draws: int = 5,
    decay: float = DECAY,
    seed: int = 0,
) -> Result:
    """Accuracy with k labels a class and with 1 % and 10 % of the labels; mean over several draws.

    Each draw fits a linear layer with L2 penalty. The features are standardised by all training
    features, which needs no labels. Nothing is chosen: at one label a class there is nothing to
    choose on, so the penalty is the same function of the number of examples everywhere. The
    published 1 % and 10 % lists (google-research/simclr) are for ImageNet; here they are drawn.

    Intervals are Student's t of the mean over draws. All draws are tested on the same examples.

    Args:
        train_x: [N, D] float.
        train_y: [N] int64.
        test_x: [Q, D] float.
        test_y: [Q] int64.
        shots: numbers of examples a class. What the data does not allow is left out with a note.
        shares: of each class, rounded, at least one.
        draws: 2 or more.
        decay: at k examples a class the L2 penalty is decay / k.
        seed: of the draws.

    Raises:
        UsageError: as `check_split`; no draws; nothing that the data allows.
    """
    check_split(train_x, train_y, test_x, test_y)
    if draws < 2 or min([*shots, 1]) < 1 or not all(0 < share < 1 for share in shares):
        raise UsageError(
            f"lowshot got draws {draws}, shots {list(shots)} and shares {list(shares)}; wanted 2 "
            "draws or more, shots from 1 and shares between 0 and 1."
        )
    began = time.perf_counter()
    train_y, test_y = train_y.to(train_x.device), test_y.to(train_x.device)
    mean, scale = standardiser(train_x.float())
    train = (train_x.float() - mean) * scale, train_y
    test = (test_x.float() - mean) * scale, test_y
    counts = torch.bincount(train_y)
    wanted, notes = _plan(counts, shots, shares)
    measures: dict[str, Estimate] = {}
    right: dict[str, tuple[str, ...]] = {}
    for name, take in wanted.items():
        found: list[Tensor] = []
        for draw in range(draws):
            rows = subset(train_y, take, seed=seed + draw)
            found.append(_right(train[0][rows], train[1][rows], *test, decay=decay))
        measures[f"accuracy at {name}"] = over_draws([float(hits.float().mean()) for hits in found])
        right[f"accuracy at {name}"] = tuple(map(as_text, found))
    if not measures:
        raise UsageError(f"lowshot has nothing to measure. {' '.join(notes)}")
    # the headline is 10 a class where there is one: 1 is mostly the luck of the draw
    headline = "accuracy at 10 per class"
    if headline in measures:
        measures = {headline: measures[headline]} | measures
    return Result(
        protocol="lowshot",
        version=1,
        train=len(train_y),
        n=len(test_y),
        classes=int((counts > 0).sum()),
        measures=measures,
        seconds=time.perf_counter() - began,
        settings={"draws": draws, "decay x k": decay, "seed": seed, "interval": "t over draws"},
        notes=tuple(notes),
        right=right,
    )


def subset(labels: Tensor, take: Tensor, *, seed: int) -> Tensor:
    """Rows [M] int64 of a random draw of take[c] examples of each class c.

    Args:
        labels: [N] int64.
        take: [C] int64, at most as many as there are.
        seed: of the draw. With the same seed a larger draw holds the smaller.
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    shuffled = labels.cpu()[order]
    order = order[shuffled.argsort(stable=True)]
    counts = torch.bincount(shuffled, minlength=len(take))
    starts = counts.cumsum(0) - counts
    rows = [
        order[start : start + n] for start, n in zip(starts.tolist(), take.tolist(), strict=True)
    ]
    return torch.cat(rows).to(labels.device)


def _plan(
    counts: Tensor, shots: Sequence[int], shares: Sequence[float]
) -> tuple[dict[str, Tensor], list[str]]:
    """Name -> examples of each class; and why some were left out."""
    counts = counts.cpu()
    there = counts > 0
    least, total = int(counts[there].min()), int(counts.sum())
    wanted: dict[str, Tensor] = {}
    missing = [k for k in shots if k > least]
    notes: list[str] = []
    if missing:
        rare = int(torch.where(there, counts, total + 1).argmin())
        notes.append(
            f"Left out: {', '.join(map(str, missing))} per class; class number {rare}, "
            f"counted from 0 in sorted order, has {least} training "
            f"example{'s' if least > 1 else ''}."
        )
    for k in shots:
        if k <= least:
            wanted[f"{k} per class"] = there * k
    for share in shares:
        take = torch.where(there, (share * counts).round().clamp_min(1), 0).long()
        if share * total < int(there.sum()):
            notes.append(
                f"Left out: {100 * share:g} % of {total} training labels, less than one for each "
                f"of {int(there.sum())} classes."
            )
        else:
            wanted[f"{100 * share:g} %"] = take
    for name in [name for name, take in wanted.items() if int(take.sum()) == total]:
        notes.append(f"Left out: {name}, which is all training labels; see the protocol linear.")
        del wanted[name]
    return wanted, notes


def _right(x: Tensor, y: Tensor, test_x: Tensor, test_y: Tensor, *, decay: float) -> Tensor:
    """Which test examples [Q] bool are classified rightly."""
    known, y = y.unique(return_inverse=True)
    solver = Solver(x, y, classes=len(known), iterations=200)
    weight, bias = solver.fit(decay * len(known) / len(y), tolerance=1e-5)
    return known[F.linear(test_x, weight, bias).argmax(dim=1)] == test_y
