"""What an evaluation found, with everything needed to repeat it."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from manyviews.core import UsageError
from manyviews.core.extras import frame
from manyviews.core.in_words import InWords


@dataclass(frozen=True)
class Estimate:
    """A measured value and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} (95 % interval {self.low:.4f} to {self.high:.4f})"


@dataclass(frozen=True, kw_only=True)
class Result(InWords):
    """The outcome of one protocol on one split.

    Attributes:
        protocol: its name.
        version: rises whenever the same features could give another number.
        train: labelled examples learnt from.
        n: test examples.
        classes: distinct classes among the training labels; 0 where there are none.
        measures: name -> estimate over the draw of test examples (and of training examples where
            the protocol draws some); the headline first.
        seconds: wall clock of the protocol, feature extraction not included.
        settings: hyper-parameters, chosen ones included.
        saw_test: whether any hyper-parameter was chosen on the test examples.
        notes: what was left out and why, and which layer was taken, a line each.
        right: measure -> one text a draw of training examples, with a character for each test
            image in the data's order: 1 where it was classified rightly, else 0. Results on the
            same images can so be told apart image by image. Only of measures that are such shares.
    """

    protocol: str
    version: int
    train: int
    n: int
    classes: int
    measures: Mapping[str, Estimate]
    seconds: float
    settings: Mapping[str, float | int | str | bool] = field(
        default_factory=dict[str, float | int | str | bool]
    )
    saw_test: bool = False
    notes: tuple[str, ...] = ()
    right: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    @property
    def metric(self) -> str:
        """The headline's name, for instance "accuracy"."""
        return next(iter(self.measures))

    @property
    def value(self) -> float:
        """The headline."""
        return self.measures[self.metric].value

    @property
    def interval(self) -> tuple[float, float]:
        """The headline's."""
        headline = self.measures[self.metric]
        return headline.low, headline.high

    def lines(self) -> list[str]:
        """For people: the headline with what it was measured on, then the rest."""
        train = f" test, {self.train} training" if self.train else ""
        classes = f", {self.classes} classes" if self.classes else ""
        examples = f"{self.n}{train} examples{classes}"
        (name, first), *others = self.measures.items()
        return [
            f"{self.protocol}: {name} {first}; {examples}",
            *(f"  {name} {estimate}" for name, estimate in others),
            *(f"  {note}" for note in self.notes),
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and text, for evaluation/*.json."""
        return asdict(self) | {
            "metric": self.metric,
            "value": self.value,
            "measures": {name: asdict(estimate) for name, estimate in self.measures.items()},
            "settings": dict(self.settings),
            "notes": list(self.notes),
        }


def accuracy(right: int, n: int) -> Estimate:
    """Share of test examples classified rightly, in [0, 1], with Wilson's interval."""
    return Estimate(right / n, *wilson(right, n))


def as_text(right: Tensor) -> str:
    """Whether each test image [Q] bool was classified rightly, as `Result.right` keeps it."""
    return "".join("01"[one] for one in right.int().tolist())


def wilson(right: int, n: int, *, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval of a proportion; 95 % unless z says otherwise.

    Source: E. B. Wilson, JASA 22 (1927). Never leaves [0, 1] and holds at 0 and at n right.
    """
    if n < 1 or not 0 <= right <= n:
        raise ValueError(f"wilson wants 0 <= right <= n and n >= 1, got right={right}, n={n}")
    p, z2 = right / n, z * z
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def check_features(name: str, features: Tensor) -> None:
    """Refuse what no protocol can use.

    Raises:
        UsageError: `features` is not a non-empty [N, D], or holds NaN or infinity.
    """
    if features.ndim != 2 or 0 in features.shape:
        raise UsageError(
            f"The {name} features have shape {tuple(features.shape)}; wanted a non-empty [N, D]. "
            "Extract them again at image level."
        )
    broken = (~torch.isfinite(features).all(dim=1)).nonzero().flatten()
    if len(broken):
        raise UsageError(
            f"{len(broken)} of {len(features)} {name} features are NaN or infinite (first: row "
            f"{int(broken[0])}). The encoder diverged; evaluate an earlier checkpoint."
        )


def check_labels(name: str, labels: Tensor, rows: int) -> None:
    """Refuse labels that do not belong to `rows` features.

    Raises:
        UsageError: several labels an image, wrong count, type, or a negative label.
    """
    if labels.ndim == 2:
        raise UsageError(
            f"The {name} labels are sets, up to {labels.shape[1]} an image; this protocol wants "
            "one label an image. Use the protocol multilabel."
        )
    if labels.shape != (rows,) or labels.is_floating_point():
        raise UsageError(
            f"The {name} labels are {labels.dtype} of shape {tuple(labels.shape)}; wanted int64 "
            f"[{rows}], one for each feature."
        )
    if rows and int(labels.min()) < 0:
        raise UsageError(f"The {name} labels hold {int(labels.min())}; wanted 0 or more.")


def check_pair(train_x: Tensor, test_x: Tensor) -> None:
    """Refuse features that are not two parts of one space.

    Raises:
        UsageError: as `check_features`; widths differ.
    """
    check_features("training", train_x)
    check_features("test", test_x)
    if train_x.shape[1] != test_x.shape[1]:
        raise UsageError(
            f"Training features have {train_x.shape[1]} dimensions, test features "
            f"{test_x.shape[1]}. Extract both with the same encoder."
        )


def several_classes(labels: Tensor) -> Tensor:
    """The classes [K] of training labels [N].

    Raises:
        UsageError: there are fewer than 2.
    """
    known = labels.unique()
    if len(known) < 2:
        raise UsageError(
            "The training labels hold 1 class; wanted 2 or more. "
            "Give one folder for each class, or a CSV of path,label."
        )
    return known


def check_split(
    train_x: Tensor, train_y: Tensor, test_x: Tensor, test_y: Tensor | None = None
) -> None:
    """Refuse a split that no classifier can be fitted or, with test labels, measured on.

    Raises:
        UsageError: as `check_pair`, `check_labels`; fewer than 2 classes; a test class of which
            there is no training example.
    """
    check_pair(train_x, test_x)
    check_labels("training", train_y, len(train_x))
    known = several_classes(train_y)
    if test_y is None:
        return
    check_labels("test", test_y, len(test_x))
    strange = ~torch.isin(test_y, known.to(test_y.device))
    if strange.any():
        classes = test_y[strange].unique()
        raise UsageError(
            f"{len(classes)} of the {len(test_y.unique())} test classes have no training example "
            f"(first: class number {int(classes[0])}, counted from 0 in sorted order; "
            f"{int(strange.sum())} of {len(test_y)} test samples). Take them out of the test part, "
            "or label training samples of them."
        )


@dataclass(frozen=True, kw_only=True)
class Beside:
    """A protocol's result, and the same protocol on what no training has touched.

    Attributes:
        result: of the features in question.
        beside: name of a baseline -> its result.
    """

    result: Result
    beside: dict[str, Result]

    def lines(self) -> list[str]:
        """For people."""
        metric = self.result.metric
        others = ", ".join(f"{name} {found.value:.4f}" for name, found in self.beside.items())
        return [*self.result.lines(), *([f"  {metric} of {others}"] if others else [])]

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and text."""
        beside = {name: found.to_json() for name, found in self.beside.items()}
        return self.result.to_json() | {"beside": beside}


class Reported(Protocol):
    """What can be told to people and to programs."""

    def lines(self) -> list[str]:
        """For people."""
        ...

    def to_json(self) -> dict[str, object]:
        """Plain numbers and text."""
        ...


@dataclass(frozen=True, kw_only=True)
class Evaluated(InWords):
    """What protocols found.

    Attributes:
        run: whose features.
        data: whose labels.
        found: a result a protocol, in the order asked for.
        content: hash of its images and labels; "" where there is no run to keep it in.
        unsaved: why they are not all in RUN/evaluation; "" where they are, or without a run.
        layers: how the encoder's blocks compare, where the best was asked for.
    """

    run: str
    data: str
    found: list[Beside]
    content: str = ""
    unsaved: str = ""
    layers: Reported | None = None

    def lines(self) -> list[str]:
        """For people."""
        first = self.layers.lines() if self.layers else []
        return [*first, *(line for one in self.found for line in one.lines())]

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and text."""
        results = {one.result.protocol: one.to_json() for one in self.found}
        told = {"run": self.run, "data": self.data, "content": self.content}
        layers = {"layers": self.layers.to_json()} if self.layers else {}
        return told | {"results": results} | layers

    def to_pandas(self) -> Any:
        """A pandas.DataFrame: a row a protocol, whose features, and measure.

        Raises:
            UsageError: pandas is not installed.
        """
        rows = [
            {"protocol": result.protocol, "features": name, "measure": measure}
            | {"value": found.value, "low": found.low, "high": found.high, "n": result.n}
            for one in self.found
            for name, result in {self.run: one.result, **one.beside}.items()
            for measure, found in result.measures.items()
        ]
        return frame(rows, index="protocol")
