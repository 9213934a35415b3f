"""What each verb gives back: data that prints as lines and as JSON."""

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

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
    """

    run: str
    data: str
    found: list[Beside]

    def lines(self) -> list[str]:
        """For people."""
        return [line for one in self.found for line in one.lines()]

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and text."""
        results = {one.result.protocol: one.to_json() for one in self.found}
        return {"run": self.run, "data": self.data, "results": results}


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
