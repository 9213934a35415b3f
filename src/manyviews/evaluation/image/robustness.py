"""How well a probe of clean features holds on corrupted images."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from manyviews.core import UsageError
from manyviews.core.inputs import Pixels
from manyviews.core.progress import once_each
from manyviews.evaluation.features import Embed, extract
from manyviews.evaluation.image.corruptions import CORRUPTIONS, Corrupted
from manyviews.evaluation.image.corruptions.source import spread
from manyviews.evaluation.knn import knn
from manyviews.evaluation.labelled import Labelled
from manyviews.evaluation.linear import linear_probe
from manyviews.evaluation.result import Estimate, Result, accuracy, check_labels, check_split
from manyviews.views.by_input import plain_of
from manyviews.views.pipeline import Fed, Pipeline

log = logging.getLogger("manyviews")

Predict = Callable[[Tensor], Tensor]

_Z = 1.959964


def robustness(
    embed: Embed,
    train_x: Tensor,
    train_y: Tensor,
    test: Labelled,
    *,
    input: Pixels,
    probe: Literal["knn", "linear"] = "knn",
    corruptions: Sequence[str] = tuple(CORRUPTIONS),
    severities: Sequence[int] = (1, 2, 3, 4, 5),
    limit: int = 1000,
    seed: int = 0,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
    warn: Callable[[str], object] = log.warning,
) -> Result:
    """Fit a probe on clean training features; test it on every corruption at every severity.

    Hendrycks and Dietterich 2019, section 4.2, with a probe in place of a trained classifier and
    with a frost that is not theirs. Nothing is chosen on test images.

    Args:
        embed: [B, C, S, S] on `device` -> [B, D], in evaluation mode.
        train_x: [N, D] clean training features.
        train_y: [N] int64.
        test: the images that are corrupted.
        input: what the encoder is fed.
        probe: "knn" as the protocol of that name, or "linear".
        corruptions: names of `CORRUPTIONS`.
        severities: 1 to 5.
        limit: take at most this many test images, evenly spread; 0 for all.
        seed: of the corruptions and of the linear probe.
        batch_size: images at a time.
        device: where `embed` computes.
        workers: processes that read and corrupt ahead; the result is the same.
        progress: told (images done, images in all), clean ones included.
        warn: told once what cannot be read, of all corruptions.

    Returns:
        The measures, all but the last accuracies: "corrupted_accuracy", the mean over corruptions
        and severities (its interval takes images as independent, and one image's corruptions as
        not); "clean_accuracy"; a corruption's name, its mean over severities; and
        "error_ratio", mean corrupted error over clean error (without clean errors it is left out).
        The published mCE divides by AlexNet's errors; this is another number.

    Raises:
        UsageError: features, labels, corruptions or severities that cannot be used.
    """
    began = time.perf_counter()
    _check(test, corruptions, severities, limit)
    rows = list(spread(len(test), limit))
    spoilt = [
        Pipeline(
            {"image": Corrupted(name=name, severity=severity)}, {"image": Fed(input)}, seed=seed
        )
        for name in corruptions
        for severity in severities
    ]
    total, once = len(rows) * (1 + len(spoilt)), once_each(warn)
    predict: Predict | None = None
    settings: dict[str, float | int | str | bool] = {}
    rights: list[Tensor] = []
    index = torch.empty(0, dtype=torch.int64)
    for done, pipeline in enumerate([plain_of(input), *spoilt]):
        found = extract(
            embed,
            test.source,
            pipeline,
            rows=rows,
            batch_size=batch_size,
            device=device,
            workers=workers,
            progress=_shifted(progress, done * len(rows), total),
            warn=once,
        )
        if predict is None:
            index = found.index
            check_split(train_x, train_y, found.features, test.labels[index])
            predict, settings = _fit(probe, train_x, train_y, seed=seed)
        rights.append(predict(found.features).cpu() == test.labels[index])
    measures = _measures(rights[0], torch.stack(rights[1:]), corruptions, len(severities))
    return Result(
        protocol="robustness",
        version=1,
        train=len(train_y),
        n=len(index),
        classes=len(train_y.unique()),
        measures=measures,
        seconds=time.perf_counter() - began,
        settings=settings
        | {"probe": probe, "seed": seed}
        | {"corruptions": ",".join(corruptions), "severities": ",".join(map(str, severities))},
    )


def _measures(
    clean: Tensor, spoilt: Tensor, corruptions: Sequence[str], severities: int
) -> dict[str, Estimate]:
    """From which images [n] are right, and which [corruptions * severities, n] are when spoilt."""
    share = spoilt.double()
    by_name = share.unflatten(0, (len(corruptions), severities)).mean(dim=1)
    measures = {
        "corrupted_accuracy": _mean(share.mean(dim=0)),
        "clean_accuracy": accuracy(int(clean.sum()), len(clean)),
    }
    measures |= {name: _mean(row) for name, row in zip(corruptions, by_name, strict=True)}
    wrong, worse = 1 - clean.double(), 1 - share.mean(dim=0)
    if wrong.any():
        measures["error_ratio"] = _ratio(worse, wrong)
    return measures


def _mean(values: Tensor) -> Estimate:
    """Mean of shares in [0, 1], one an image, with Wilson's interval.

    It counts as many images as would give the same variance if each were wholly right or wrong.
    """
    value, varies = float(values.mean()), float(values.var(correction=0))
    most = value * (1 - value)
    n = len(values) * (most / varies if varies > 0 else 1)
    middle = (value + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(most / n + _Z**2 / (4 * n**2))
    return Estimate(value, max(0.0, middle - half), min(1.0, middle + half))


def _ratio(above: Tensor, below: Tensor) -> Estimate:
    """Ratio of two means over the same images, and its interval by the delta method."""
    ratio = float(above.mean() / below.mean())
    error = float((above - ratio * below).std() / below.mean() / math.sqrt(len(below)))
    error = error if math.isfinite(error) else 0.0
    return Estimate(ratio, max(0.0, ratio - _Z * error), ratio + _Z * error)


def _fit(
    probe: str, train_x: Tensor, train_y: Tensor, *, seed: int
) -> tuple[Predict, dict[str, float | int | str | bool]]:
    if probe == "knn":
        k = min(20, len(train_x))

        def vote(features: Tensor) -> Tensor:
            return knn(train_x, train_y, features, k=k, temperature=0.07)

        return vote, {"k": k, "temperature": 0.07}
    _, fitted = linear_probe(train_x, train_y, train_x[:1], seed=seed)
    return fitted.predict, {"decay": fitted.decay}


def _shifted(
    progress: Callable[[int, int], None] | None, before: int, total: int
) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, _: progress(before + done, total)


def _check(
    test: Labelled, corruptions: Sequence[str], severities: Sequence[int], limit: int
) -> None:
    check_labels("test", test.labels, len(test.source))
    for name, values in (("corruption", corruptions), ("severity", severities)):
        if not values or len(set(values)) < len(values):
            said = ", ".join(map(str, values)) or "none"
            raise UsageError(f"Robustness got {name} {said}; wanted one or more, each once.")
    if limit < 0:
        raise UsageError(f"Robustness got limit {limit}; wanted 0 for all images, or more.")
    channels = test.images.channels
    if channels not in (1, 3):
        raise UsageError(f"Images of {channels} channels cannot be corrupted; wanted 1 or 3.")
