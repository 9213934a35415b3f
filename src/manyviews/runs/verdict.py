"""What a run's verdict is made of, from its folder, and the commands that it can end in."""

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from manyviews.core.nouns import noun_of
from manyviews.core.passes import passes
from manyviews.diagnosis.alarms import RULES, Light
from manyviews.diagnosis.course import Trend, trend
from manyviews.diagnosis.state import FeatureState
from manyviews.diagnosis.verdict import FEW, Commands, Course, Evidence, Raised, Verdict, verdict
from manyviews.runs.against import START, UNTRAINED, HeldAgainst, of
from manyviews.runs.assemble import Assembly
from manyviews.runs.folder import read
from manyviews.runs.folder.paths import Paths
from manyviews.runs.probe import of_encoder

STRETCHES = 12
"""Of a training, whose logged numbers are averaged to see a trend."""
LOGGED = {"view_consistency": "consistency", "effective_rank": "rank_embedding"}
"""Measure -> its name in metrics.jsonl."""
_LIGHTS: dict[str, Light] = {rule.name: rule.light for rule in RULES}
_ORDER = ("ok", "warn", "bad")
_LENGTHS = ("--train.steps", "--train.epochs", "--train.minutes")

History = Sequence[tuple[int, Mapping[str, float]]]


def verdict_of(
    assembly: Assembly,
    directory: Path,
    state: FeatureState,
    held: HeldAgainst,
    *,
    step: int,
    name: str = "",
    history: History = (),
    best: int | None = None,
) -> Verdict:
    """The verdict on an encoder of a run.

    Args:
        assembly: the run.
        directory: where it lies.
        state: of the features.
        held: what the encoders were held against.
        step: whose weights were looked at.
        name: of the encoder, where there are several.
        history: numbers of checkpoints, where those of the health checks do not do.
        best: the step of the best checkpoint, where that is known.
    """
    records = [r for r in read.read_metrics(directory) if r["step"] <= step]
    evidence = Evidence(
        state=state,
        untrained=of(held, UNTRAINED, name),
        start=of(held, START, name),
        alarms=raised(records),
        course=_course(assembly, directory, records, step, trend_of(records, history, name)),
        task=task_of(records),
        noun=noun_of(assembly.source.streams),
    )
    best = 0 if best is None or best == step else best
    return verdict(evidence, plan_of(assembly, directory, evidence, best=best))


def task_of(records: Sequence[Mapping[str, Any]]) -> float | None:
    """The task's loss over that of a guess: the mean of the last quarter of the health checks."""
    found = [r["watch/over_guess"] for r in records if r.get("watch/over_guess") is not None]
    return float(np.mean(found[-math.ceil(len(found) / 4) :])) if found else None


def raised(records: Sequence[Mapping[str, Any]]) -> list[Raised]:
    """The alarms of a training, each rule's once, and whether the last check was past them.

    Those of the wiring, before the first step, do not pass.
    """
    checks = [r["health"] for r in records if r["kind"] == "health" and r.get("health") is not None]
    now = int(checks[-1]) if checks else 2
    found: dict[str, Raised] = {}
    for record in records:
        if record["kind"] != "alarm" or not record.get("message"):
            continue
        name = str(record.get("name", "alarm"))
        told = record.get("light")  # 0.1.0 did not write it
        light = told if told in _ORDER else _LIGHTS.get(name, "warn")
        passed = record["step"] > 0 and now < _ORDER.index(light)
        found[name] = Raised(name=name, light=light, message=record["message"], passed=passed)
    return list(found.values())


def _course(
    assembly: Assembly,
    directory: Path,
    records: Sequence[Mapping[str, Any]],
    step: int,
    found: Trend | None,
) -> Course:
    train, samples = assembly.run.train, len(assembly.source)
    total = train.steps or train.epochs * assembly.steps_per_epoch
    seconds = max((r["seconds"] for r in records if r.get("seconds") is not None), default=0.0)
    share = step / total if total else seconds / (60 * train.minutes)
    if read.read_json(Paths(directory).outcome).get("status") == "done":
        share = 1.0
    return Course(
        steps=step,
        samples=samples,
        passes=passes(step, batch=assembly.run.data.batch_size, samples=samples),
        share=min(1.0, share),
        trend=found,
    )


def trend_of(records: Sequence[Mapping[str, Any]], history: History, name: str) -> Trend | None:
    """Where a training was going, by its health checks.

    Where views were not compared at those, by its checkpoints.
    """
    course = logged(records, name)
    if sum("view_consistency" in numbers for _, numbers in course) < 4 and history:
        rates = rates_of(records)
        kept = [(s, {**n, **rate_at(rates, s)}) for s, n in history if s > 0]
        return trend(kept) if kept else None
    return trend(course, of_batches=True) if course else None


def logged(records: Sequence[Mapping[str, Any]], encoder: str = "") -> History:
    """The health numbers of a run, averaged over twelve stretches of it; of one of its encoders."""
    latest = {int(r["step"]): r for r in records if r.get("kind") == "health"}  # resumes repeat
    rates = rates_of(records)
    history: list[tuple[int, Mapping[str, float]]] = []
    for part in np.array_split(sorted(latest), min(STRETCHES, len(latest)) or 1):
        numbers: dict[str, float] = {}
        for name, key in LOGGED.items():
            values = [latest[int(s)].get(of_encoder(key, encoder)) for s in part]
            known = [value for value in values if value is not None]
            if known:
                numbers[name] = float(np.mean(known))
        if numbers:
            history.append((int(part[-1]), numbers | rate_at(rates, int(part[-1]))))
    return history


def rates_of(records: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """Step -> learning rate as a share of the highest so far, where it was logged."""
    found = {int(r["step"]): float(r["lr"]) for r in records if r.get("lr") is not None}
    peak = max(found.values(), default=0.0)
    return {step: rate / peak for step, rate in sorted(found.items())} if peak > 0 else {}


def rate_at(rates: Mapping[int, float], step: int) -> dict[str, float]:
    """{"lr": the rate that was logged nearest to a step}, or nothing."""
    if not rates:
        return {}
    return {"lr": rates[min(rates, key=lambda known: abs(known - step))]}


def plan_of(assembly: Assembly, directory: Path, evidence: Evidence, *, best: int = 0) -> Commands:
    """What the commands of a verdict are built from."""
    run, quoted = assembly.run, shlex.quote(str(directory))
    typed = shlex.split(read.read_began(directory)["command"])
    again = typed if typed[:2] == ["manyviews", "train"] else ["manyviews", "train", run.recipe]
    again = without(again, "--out", *_LENGTHS, "--optim.lr")
    if "--data" not in again:
        again += ["--data", run.data.source]
    seen = evidence.course.passes if evidence.course else 0.0
    factor = max(2, math.ceil(FEW / seen)) if seen > 0 else 2
    train, rate = run.train, f"--optim.lr {run.optim.lr:g}"
    long = {"steps": train.steps, "epochs": train.epochs, "minutes": train.minutes}
    [(name, value)] = [(name, value) for name, value in long.items() if value]
    return Commands(
        run=quoted,
        again=shlex.join(again),
        data=shlex.quote(run.data.source),
        longer=f"--train.{name} {factor * value:g} {rate} --out {quoted}-longer",
        factor=factor,
        hours=factor * _hours(directory),
        gentler=f"--optim.lr {run.optim.lr / 3:.2g} --train.{name} {value:g} "
        f"--out {quoted}-gentler",
        start=shlex.quote(run.start) if run.start else "",
        best=best,
    )


def _hours(directory: Path) -> float:
    """That a training took so far."""
    seconds = [r["seconds"] for r in read.read_metrics(directory) if r.get("seconds") is not None]
    return max(seconds, default=0.0) / 3600


def without(typed: Sequence[str], *flags: str) -> list[str]:
    """What was typed, without some flags and their values."""
    kept: list[str] = []
    skip = False
    for word in typed:
        if skip:
            skip = False
        elif word in flags:
            skip = True
        elif word.partition("=")[0] not in flags:
            kept.append(word)
    return kept
