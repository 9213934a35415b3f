"""Named, versioned evaluations of frozen features. Each is one function with the same shape.

All learn from features that were computed once, of the plain view. The authors of the `linear-`
protocols instead crop and flip each training image anew in every epoch; their learning rates,
schedules, batches, first weights and normalisation are kept, that augmentation is not, so figures
stand beside one another here but not beside published ones. Their scripts also name the best epoch
or learning rate on the validation images that they report on; here the last epoch counts, and
rates are chosen on held-out training labels.
"""

import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from manyviews.evaluation import sgd_probe
from manyviews.evaluation.intervals import bootstrap_of
from manyviews.evaluation.knn import knn
from manyviews.evaluation.linear import linear_probe
from manyviews.evaluation.logreg import logistic_regression
from manyviews.evaluation.lowshot import lowshot_protocol
from manyviews.evaluation.multilabel import multilabel_protocol
from manyviews.evaluation.result import Estimate, Result, accuracy, as_text, check_split
from manyviews.evaluation.retrieval import retrieval_protocol

Protocol = Callable[[Tensor, Tensor, Tensor, Tensor], Result]
"""(train features [N, D], train labels [N], test features [Q, D], test labels [Q]) -> Result.

`multilabel` takes labels [N, C] and [Q, C] bool.
"""

Settings = dict[str, float | int | str | bool]
"""Hyper-parameters by name, chosen ones included."""


def knn_protocol(
    train_x: Tensor,
    train_y: Tensor,
    test_x: Tensor,
    test_y: Tensor,
    *,
    k: int = 20,
    temperature: float = 0.07,
) -> Result:
    """DINO's kNN with its usual best k, 20, and temperature 0.07; nothing is chosen.

    With fewer training examples than k all of them vote.
    """
    check_split(train_x, train_y, test_x, test_y)
    began = time.perf_counter()
    k = min(k, len(train_x))
    predictions = knn(train_x, train_y, test_x, k=k, temperature=temperature)
    return classified(
        "knn", 1, predictions, train_y, test_y, began, {"k": k, "temperature": temperature}
    )


def linear_protocol(
    train_x: Tensor, train_y: Tensor, test_x: Tensor, test_y: Tensor, *, seed: int = 0
) -> Result:
    """Batch norm without affine and a linear layer; decay chosen on held-out training labels."""
    check_split(train_x, train_y, test_x, test_y)
    began = time.perf_counter()
    predictions, probe = linear_probe(train_x, train_y, test_x, seed=seed)
    settings: Settings = {"decay": probe.decay, "seed": seed}
    return classified("linear", 2, predictions, train_y, test_y, began, settings)


def logreg_protocol(
    train_x: Tensor, train_y: Tensor, test_x: Tensor, test_y: Tensor, *, seed: int = 0
) -> Result:
    """Kornblith's and DINOv2's logistic regression: C of 45, chosen on 10 % of the training."""
    check_split(train_x, train_y, test_x, test_y)
    began = time.perf_counter()
    predictions, probe = logistic_regression(train_x, train_y, test_x, seed=seed)
    settings: Settings = {"C": 1 / (probe.decay * len(train_x)), "seed": seed}
    return classified("logreg", 1, predictions, train_y, test_y, began, settings)


def moco_protocol(
    train_x: Tensor, train_y: Tensor, test_x: Tensor, test_y: Tensor, *, seed: int = 0
) -> Result:
    """MoCo's linear probe: SGD, lr 30, 100 epochs; nothing is normalised. See `sgd_probe.moco`."""
    return _fitted("linear-moco", sgd_probe.moco, (train_x, train_y, test_x, test_y), seed)


def dino_protocol(
    train_x: Tensor, train_y: Tensor, test_x: Tensor, test_y: Tensor, *, seed: int = 0
) -> Result:
    """DINO's linear probe: SGD, cosine over 100 epochs. See `sgd_probe.dino`.

    DINO joins the class tokens of the last four blocks (ViT-S); here the pooled feature is probed.
    On few images its small learning rate leaves the probe far from fitted.
    """
    return _fitted("linear-dino", sgd_probe.dino, (train_x, train_y, test_x, test_y), seed)


def mae_protocol(
    train_x: Tensor, train_y: Tensor, test_x: Tensor, test_y: Tensor, *, seed: int = 0
) -> Result:
    """MAE's linear probe: batch norm without affine, LARS, 90 epochs. See `sgd_probe.mae`.

    With fewer than 16,384 training examples all are one batch: 90 steps, at a rate that falls with
    the batch. On a few thousand that hardly moves the first weights; the result then says so.
    """
    result = _fitted("linear-mae", sgd_probe.mae, (train_x, train_y, test_x, test_y), seed)
    if len(train_x) >= sgd_probe.MAE_BATCH:
        return result
    note = (
        f"MAE's batch is 16,384; with {len(train_x)} training examples this protocol takes 90 "
        f"steps at a learning rate of {0.1 * len(train_x) / 256:.2g} and may be far from fitted."
    )
    return replace(result, notes=(note,))


def dinov2_protocol(
    train_x: Tensor,
    train_y: Tensor,
    test_x: Tensor,
    test_y: Tensor,
    *,
    seed: int = 0,
    steps: int = 12_500,
) -> Result:
    """DINOv2's linear grid over 13 learning rates, chosen on 10 % of the training labels.

    DINOv2 also tries the last block against the last four, and class token against class token
    with mean patch: 52 heads. Here the grid runs over learning rates on the pooled feature. The
    chosen rate is trained again on all training labels. See `sgd_probe.dinov2`.
    """
    check_split(train_x, train_y, test_x, test_y)
    began = time.perf_counter()
    y = train_y.to(train_x.device)
    classes = int(y.max()) + 1
    rate, _ = sgd_probe.choose_rate(train_x, y, classes=classes, seed=seed, steps=steps)
    heads = sgd_probe.dinov2(train_x, y, classes=classes, rates=(rate,), seed=seed, steps=steps)
    sgd_probe.check_finite("linear-dinov2", heads, train_x)
    [predictions] = heads.predict(test_x)
    settings: Settings = {"lr for 256": rate, "steps": steps, "seed": seed}
    return classified("linear-dinov2", 1, predictions, train_y, test_y, began, settings)


PROTOCOLS: dict[str, Protocol] = {
    "knn": knn_protocol,
    "linear": linear_protocol,
    "linear-moco": moco_protocol,
    "linear-dino": dino_protocol,
    "linear-mae": mae_protocol,
    "linear-dinov2": dinov2_protocol,
    "logreg": logreg_protocol,
    "lowshot": lowshot_protocol,
    "retrieval": retrieval_protocol,
    "multilabel": multilabel_protocol,
}
"""Every evaluation by the name that the command line takes."""


def _fitted(
    name: str,
    fit: Callable[..., sgd_probe.Heads],
    split: tuple[Tensor, Tensor, Tensor, Tensor],
    seed: int,
) -> Result:
    """A probe of another project, with one head."""
    train_x, train_y, test_x, test_y = split
    check_split(*split)
    began = time.perf_counter()
    y = train_y.to(train_x.device)
    heads = fit(train_x, y, classes=int(y.max()) + 1, seed=seed)
    sgd_probe.check_finite(name, heads, train_x)
    [predictions] = heads.predict(test_x)
    return classified(name, 1, predictions, train_y, test_y, began, {"seed": seed})


def classified(
    protocol: str,
    version: int,
    predictions: Tensor,
    train_y: Tensor,
    test_y: Tensor,
    began: float,
    settings: Settings,
) -> Result:
    """The accuracy of predicted classes [Q], and its mean over classes.

    Args:
        protocol: its name.
        version: of the protocol.
        predictions: of the test part.
        train_y: [N].
        test_y: [Q].
        began: what `time.perf_counter` said before.
        settings: of the protocol, chosen ones included.
    """
    hits = predictions.cpu() == test_y.cpu()
    return Result(
        protocol=protocol,
        version=version,
        train=len(train_y),
        n=len(test_y),
        classes=len(train_y.unique()),
        measures={
            "accuracy": accuracy(int(hits.sum()), len(test_y)),
            "mean class accuracy": _by_class(hits, test_y.cpu()),
        },
        seconds=time.perf_counter() - began,
        settings=settings,
        right={"accuracy": (as_text(hits),)},
    )


def _by_class(hits: Tensor, labels: Tensor) -> Estimate:
    """Mean over the test's classes of their accuracy, with the interval of the bootstrap."""
    _, labels = labels.unique(return_inverse=True)
    classes = int(labels.max()) + 1

    def mean(rows: Tensor) -> Tensor:
        place = labels[rows] + classes * torch.arange(len(rows))[:, None]
        count = torch.bincount(place.flatten(), minlength=classes * len(rows))
        right = torch.bincount(place[hits[rows]], minlength=classes * len(rows))
        # a drawn test set may lack a class
        share = (right / count).view(len(rows), classes)
        return share.nanmean(dim=1, keepdim=True)

    value = float(mean(torch.arange(len(labels))[None]))
    return bootstrap_of(mean, [value], len(labels))[0]
