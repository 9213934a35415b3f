"""What each verb gives back: data that prints as lines and as JSON."""

import shlex
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from manyviews.diagnosis.explain import MEASURES
from manyviews.diagnosis.invariance import Bar
from manyviews.diagnosis.prototypes import Usage
from manyviews.diagnosis.verdict import Trend, Verdict
from manyviews.evaluation.result import Result


@dataclass(frozen=True, kw_only=True)
class Trained:
    """How a training ended.

    Attributes:
        status: done, interrupted (go on with `manyviews resume`) or collapsed.
        run: the run directory.
        steps: optimiser steps done.
        seconds: of training, without evaluation.
        images_per_second: while training.
        waited: share of training time spent waiting for data.
        skipped: steps that were skipped because a loss or gradient was not finite.
        unreadable: files that could not be read (see quarantine.jsonl).
        evaluation: name -> value of the last labelled probe, if there was one.
        alarms: one line for each alarm that was raised.
        peak_memory: bytes of the first training process, on its GPU where it had one; data workers
            are not in it.
    """

    status: Literal["done", "interrupted", "collapsed"]
    run: Path
    steps: int
    seconds: float
    images_per_second: float
    waited: float
    skipped: int
    unreadable: int
    evaluation: dict[str, float] = field(default_factory=dict[str, float])
    alarms: list[str] = field(default_factory=list[str])
    peak_memory: int | None = None

    def lines(self) -> list[str]:
        """For people."""
        said = [
            f"{self.status}: {self.steps} steps in {self.seconds:.0f} s, "
            f"{self.images_per_second:.0f} images/s, {self.waited:.0%} of the time waiting for data"
        ]
        if self.unreadable:
            where = self.run / "quarantine.jsonl"
            said.append(f"{self.unreadable} unreadable files were replaced; see {where}")
        if self.skipped:
            said.append(f"{self.skipped} steps were skipped: the loss or a gradient was not finite")
        said += [f"alarm: {alarm}" for alarm in self.alarms]
        said += [f"{name}: {value:.4f}" for name, value in self.evaluation.items()]
        encoder, page = self.run / "encoder.safetensors", self.run / "report.html"
        after = {
            "done": [f"encoder: {encoder}", f"report: {page}"],
            "interrupted": [f"go on with: manyviews resume {shlex.quote(str(self.run))}"],
            "collapsed": [f"see {page}; change what the alarm names and train again"],
        }
        return [*said, *after[self.status]]


@dataclass(frozen=True, kw_only=True)
class Written:
    """A file that a verb wrote, and what is worth saying about it."""

    path: Path
    notes: list[str] = field(default_factory=list[str])

    def lines(self) -> list[str]:
        """For people."""
        return [f"wrote {self.path}", *self.notes]


@dataclass(frozen=True, kw_only=True)
class Listed:
    """Names, each with a line about it."""

    items: dict[str, str]

    def lines(self) -> list[str]:
        """For people."""
        width = max(map(len, self.items)) + 2
        return [f"{name:<{width}}{line}".rstrip() for name, line in self.items.items()]


@dataclass(frozen=True, kw_only=True)
class Demo:
    """kNN top-1 on the built-in test images, and where the run lies."""

    raw_pixels: float
    centred_pixels: float
    untrained: float
    trained: float
    run: Path
    seconds: float

    def lines(self) -> list[str]:
        """For people."""
        return [
            "kNN top-1 on the 2,000 built-in test images (cosine, k=20, T=0.07):",
            f"  raw pixels         {self.raw_pixels:.3f}",
            f"  centred pixels     {self.centred_pixels:.3f}   (less the mean image)",
            f"  untrained encoder  {self.untrained:.3f}",
            f"  trained encoder    {self.trained:.3f}   after {self.seconds:.0f} s, without labels",
            f"encoder: {self.run / 'encoder.safetensors'}",
            f"report: {self.run / 'report.html'}",
        ]


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


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What protocols found.

    Attributes:
        run: whose features.
        data: whose labels.
        found: a result a protocol, in the order asked for.
        content: hash of its images and labels; "" where there is no run to keep it in.
        unsaved: why they are not all in RUN/evaluation; "" where they are, or without a run.
    """

    run: str
    data: str
    found: list[Beside]
    content: str = ""
    unsaved: str = ""

    def lines(self) -> list[str]:
        """For people."""
        return [line for one in self.found for line in one.lines()]

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and text."""
        results = {one.result.protocol: one.to_json() for one in self.found}
        told = {"run": self.run, "data": self.data, "content": self.content}
        return told | {"results": results}


@dataclass(frozen=True, kw_only=True)
class Diagnosed:
    """What can be said of a representation without labels.

    Attributes:
        run: whose.
        data: which images.
        images: how many of them.
        verdict: on the encoder's output.
        trend: where training is going, of a run that kept several checkpoints.
        best: the step of the checkpoint to keep, likewise.
        checkpoints: step -> measure -> value, of the encoder's output.
        spaces: "encoder", and of a run "projector" -> measure -> value; `explain.MEASURES` says
            what each means.
        invariance: space -> augmentation -> what it changes.
        prototypes: how they are used, where there are any.
        groups: k-means clusters against labels, where those were given.
        version: rises whenever the same features could give another number.
        unsaved: why it is not in RUN/diagnosis.json; "" where it is, or without a run.
    """

    run: str
    data: str
    images: int
    verdict: Verdict
    trend: Trend | None
    best: int | None
    checkpoints: dict[int, dict[str, float]]
    spaces: dict[str, dict[str, float]]
    invariance: dict[str, dict[str, Bar]]
    prototypes: Usage | None
    groups: dict[str, float]
    version: int = 2
    unsaved: str = ""

    def lines(self) -> list[str]:
        """For people."""
        said = [self.verdict.sentence]
        if self.trend is not None:
            said.append(self.trend.sentence)
        if self.best is not None:
            said.append(f"of {len(self.checkpoints)} checkpoints, step {self.best} looks best")
        names = list(next(iter(self.spaces.values())))
        said += ["", _row(f"{self.images} images", self.spaces, "better where")]
        for name in names:
            cells = [_number(numbers.get(name)) for numbers in self.spaces.values()]
            said.append(_row(MEASURES[name].title, cells, MEASURES[name].better))
        if self.invariance:
            note = "0: no change, 1: as far as another image"
            said += ["", _row("one augmentation", self.invariance, note)]
            for name in next(iter(self.invariance.values())):
                bars = [bars[name] for bars in self.invariance.values()]
                picture = "#" * round(20 * min(1.5, bars[0].change))
                said.append(_row(name, [f"{bar.change:.3f}" for bar in bars], picture))
        if self.prototypes is not None:
            used = self.prototypes
            said += [
                "",
                f"prototypes: {used.prototypes}, used as {used.perplexity * used.prototypes:.0f} "
                f"equal ones; an image's own entropy is {used.target_entropy:.2f} of ln K; "
                f"{used.information:.2f} nats of information",
            ]
        if self.groups:
            said += [
                "",
                f"{self.groups['clusters']:.0f} clusters against the labels: NMI "
                f"{self.groups['nmi']:.3f}, purity {self.groups['purity']:.3f}",
            ]
        return said

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and text."""
        told = asdict(self)
        del told["unsaved"]
        return told


def _row(title: str, cells: Iterable[str], note: str) -> str:
    return f"{title:<44}" + "".join(f"{cell:>12}" for cell in cells) + f"   {note}".rstrip()


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}" if abs(value) >= 100 else f"{value:.3f}"


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What `doctor` found, and the recipe that it would use.

    Attributes:
        report: prints as lines and is a dataclass.
        advice: what to do next, a line each.
    """

    report: Any
    advice: list[str]

    def lines(self) -> list[str]:
        """For people."""
        return [*self.report.lines(), *self.advice]
