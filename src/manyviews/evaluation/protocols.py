"""Named, versioned evaluations of frozen features. Each is one function with the same shape."""

import time
from collections.abc import Callable

from torch import Tensor

from manyviews.evaluation.knn import knn
from manyviews.evaluation.linear import linear_probe
from manyviews.evaluation.result import Result, accuracy, check_split

Protocol = Callable[[Tensor, Tensor, Tensor, Tensor], Result]
"""(train features [N, D], train labels [N], test features [Q, D], test labels [Q]) -> Result."""


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
    return _result(
        "knn", 1, predictions, train_y, test_y, began, {"k": k, "temperature": temperature}
    )


def linear_protocol(
    train_x: Tensor, train_y: Tensor, test_x: Tensor, test_y: Tensor, *, seed: int = 0
) -> Result:
    """Batch norm without affine and a linear layer; decay chosen on held-out training labels."""
    check_split(train_x, train_y, test_x, test_y)
    began = time.perf_counter()
    predictions, probe = linear_probe(train_x, train_y, test_x, seed=seed)
    settings: dict[str, float | int | str | bool] = {"decay": probe.decay, "seed": seed}
    return _result("linear", 1, predictions, train_y, test_y, began, settings)


PROTOCOLS: dict[str, Protocol] = {"knn": knn_protocol, "linear": linear_protocol}
"""Every evaluation by the name that the command line takes."""


def _result(
    protocol: str,
    version: int,
    predictions: Tensor,
    train_y: Tensor,
    test_y: Tensor,
    began: float,
    settings: dict[str, float | int | str | bool],
) -> Result:
    right = int((predictions == test_y.to(predictions.device)).sum())
    return Result(
        protocol=protocol,
        version=version,
        train=len(train_y),
        n=len(test_y),
        classes=len(train_y.unique()),
        measures={"accuracy": accuracy(right, len(test_y))},
        seconds=time.perf_counter() - began,
        settings=settings,
    )
