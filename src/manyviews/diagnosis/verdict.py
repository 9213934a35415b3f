"""Plain sentences on the state of a representation and of a training, without labels."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from torch import Tensor

from manyviews.core import UsageError
from manyviews.diagnosis.alarms import Light
from manyviews.diagnosis.rank import entropy_rank, rankme
from manyviews.diagnosis.spectrum import check_features, collapse_level, singular_values
from manyviews.diagnosis.uniformity import feature_std, mean_cosine, uniformity

Phase = Literal["too early", "still improving", "stop", "getting worse"]

_UNIFORM, _ONE = 0.98, 0.1
_CONSTANT = 0.9999

_PROGRESS = ("view_consistency", "lidar")
"""What `trend` judges by, the first that was measured often enough; more is better in one run."""

_CHOICE = ("lidar", "view_consistency", "rankme")
"""What `choose` goes by, the first that all checkpoints have; more is better in one run."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What features look like.

    Attributes:
        state: in two words.
        light: ok, warn (part of the space is used) or bad (collapsed).
        sentence: for people.
        directions: effective rank of the centred features, 0 to `width`.
        width: D.
        rows: N.
        numbers: name -> value of every figure computed.
    """

    state: str
    light: Light
    sentence: str
    directions: float
    width: int
    rows: int
    numbers: dict[str, float]


def verdict(
    features: Tensor, *, target_entropy: float = math.nan, usage_entropy: float = math.nan
) -> Verdict:
    """Judge the features of a sample of images.

    Complete collapse: different images have a mean cosine above 0.9999, or fewer than 1.5
    directions vary. Uniform collapse: the method's targets have more than 0.98 of the largest
    entropy. One-prototype collapse: the mean target has less than 0.1 of it. Dimensional
    collapse: fewer than 2 % of the directions that could be used (warn below 5 %) vary. The
    thresholds are our own, those of `alarms`. Says nothing about what the directions are good for.

    Args:
        features: [N, D], of different images; N >= 10 D for figures that do not depend on N, but
            a few hundred rows already show a collapse.
        target_entropy: of `prototypes.Usage` or of the method's own watch, where it has prototypes.
        usage_entropy: likewise.

    Raises:
        UsageError: fewer than 2 rows, or NaN or infinite features.
    """
    check_features(features)
    rows, width = features.shape
    if rows < 2:
        raise UsageError("A verdict compares images with one another; wanted 2 or more, got 1.")
    values = singular_values(features)
    directions = entropy_rank(values)
    numbers = {
        "effective_rank": directions,
        "rankme": rankme(features),
        "collapse_level": collapse_level(values),
        "std": feature_std(features),
        "cosine": mean_cosine(features),
        "uniformity": uniformity(features),
    }
    said = {"target_entropy": target_entropy, "usage_entropy": usage_entropy}
    numbers |= {name: value for name, value in said.items() if math.isfinite(value)}
    state, light, sentence = _judge(directions, most=min(rows - 1, width), numbers=numbers)
    return Verdict(
        state=state,
        light=light,
        sentence=sentence.format(used=f"{directions:.0f} of {width} directions are used"),
        directions=directions,
        width=width,
        rows=rows,
        numbers=numbers,
    )


def _judge(directions: float, *, most: int, numbers: dict[str, float]) -> tuple[str, Light, str]:
    if directions == 0 or numbers["cosine"] > _CONSTANT:
        return (
            "complete collapse",
            "bad",
            f"Complete collapse: different images get the same features (their mean cosine is "
            f"{numbers['cosine']:.5f}). These features cannot tell images apart.",
        )
    if numbers.get("target_entropy", 0.0) > _UNIFORM:
        return (
            "uniform collapse",
            "bad",
            "Uniform collapse: every image gets nearly the same share of every prototype (target "
            f"entropy {numbers['target_entropy']:.3f} of ln K), so targets say nothing of images.",
        )
    if numbers.get("usage_entropy", 1.0) < _ONE:
        return (
            "one-prototype collapse",
            "bad",
            "One-prototype collapse: nearly all images get the same prototype (usage entropy "
            f"{numbers['usage_entropy']:.3f} of ln K), so targets say nothing of images.",
        )
    if most >= 2 and (directions < 1.5 or directions < 0.02 * most):
        return (
            "dimensional collapse",
            "bad",
            "Dimensional collapse: {used}; images differ along those alone.",
        )
    if directions < 0.05 * most:
        return (
            "narrow",
            "warn",
            "Narrow: {used}. That may be all this data needs, or a partial dimensional collapse.",
        )
    return "healthy", "ok", "Healthy: {used}, and different images get different features."


@dataclass(frozen=True, kw_only=True)
class Trend:
    """Where a training is going.

    Attributes:
        state: what to do: train on ("too early", "still improving"), or not.
        sentence: for people.
        measure: what was judged; "" where nothing could be.
        light: ok, or warn where it gets worse.
    """

    state: Phase
    sentence: str
    measure: str
    light: Light


def trend(history: Sequence[tuple[int, Mapping[str, float]]]) -> Trend:
    """Judge whether training on is worth it. Our own heuristic; no published study backs it.

    Judged is view consistency, or LiDAR where that was not measured, at four checkpoints or more.
    The last two checkpoints against the best before them: both 5 % (and 0.01) lower is "getting
    worse". So is an effective rank that at both is below half of its earlier maximum. Otherwise
    "still improving" where the best of the last third of the checkpoints is 1 % (and 0.002) above
    the best before, else "stop".

    Args:
        history: (step, name -> value) of checkpoints of one run, measured the same way, in the
            order of steps. Names: "view_consistency", "lidar", "effective_rank",
            "graph_stability" (to the checkpoint before). Missing and NaN values are left out.

    Raises:
        UsageError: steps that do not rise.
    """
    steps = [step for step, _ in history]
    if any(later <= earlier for earlier, later in pairwise(steps)):
        raise UsageError(
            f"Checkpoints come at steps {steps}; wanted them in rising order. Sort the checkpoints."
        )
    series = {name: _series(history, name) for name in (*_PROGRESS, "effective_rank")}
    measure = next((name for name in _PROGRESS if len(series[name]) >= 4), "")
    ranks = series["effective_rank"]
    if len(ranks) >= 4 and max(ranks[-2:]) < 0.5 * max(ranks[:-2]):
        return Trend(
            state="getting worse",
            sentence=f"Getting worse: the effective rank fell to {ranks[-1]:.1f} from "
            f"{max(ranks[:-2]):.1f}. An earlier checkpoint may be better.",
            measure="effective_rank",
            light="warn",
        )
    if not measure:
        return Trend(
            state="too early",
            sentence="Too early: wanted view consistency or LiDAR at four checkpoints or more.",
            measure="",
            light="ok",
        )
    return _progress(measure, series[measure], _series(history, "graph_stability"))


def choose(checkpoints: Mapping[int, Mapping[str, float]]) -> int:
    """The step of the checkpoint to keep, without labels, among those of one run.

    Collapsed ones are left out: a mean cosine above 0.9999, fewer than 1.5 directions (or 2 % of
    "width"), or the prototypes' collapses of `verdict`. Of the others the highest LiDAR wins;
    where not all have it, the highest view consistency, then RankMe. Within 1 % of the highest
    LiDAR or RankMe the higher view consistency decides, then the earlier step. LiDAR and RankMe
    were published for choosing among runs of one method (arXiv:2312.04000, arXiv:2210.02885);
    this rule is our own.

    Args:
        checkpoints: step -> name -> value, measured the same way; names as in `trend`, and
            "rankme", "cosine", "width", "target_entropy", "usage_entropy".

    Raises:
        UsageError: no checkpoint, none that is not collapsed, or no measure that all have.
    """
    sound = {step: numbers for step, numbers in checkpoints.items() if not _collapsed(numbers)}
    if not sound:
        raise UsageError(
            f"{len(checkpoints)} checkpoints, and all of them have collapsed; wanted one that has "
            "not. Train again, with `manyviews diagnose`'s advice."
            if checkpoints
            else "There are no checkpoints to choose from; wanted one or more. Train first."
        )
    measure = next(
        (m for m in _CHOICE if all(math.isfinite(n.get(m, math.nan)) for n in sound.values())), None
    )
    if measure is None:
        raise UsageError(
            f"No measure was taken at all of steps {sorted(sound)}; wanted one of "
            f"{', '.join(_CHOICE)}. Diagnose every checkpoint."
        )
    highest = max(numbers[measure] for numbers in sound.values())
    margin = 0.0 if measure == "view_consistency" else 0.01 * abs(highest)
    tied = [step for step, numbers in sound.items() if numbers[measure] >= highest - margin]
    return max(tied, key=lambda step: (sound[step].get("view_consistency", 0.0), -step))


def _progress(measure: str, values: list[float], stability: list[float]) -> Trend:
    name = {"view_consistency": "view consistency", "lidar": "LiDAR"}[measure]
    best = max(values[:-2])
    if max(values[-2:]) < best - max(0.01, 0.05 * abs(best)):
        return Trend(
            state="getting worse",
            sentence=f"Getting worse: {name} fell to {values[-1]:.3f} from {best:.3f}. An earlier "
            "checkpoint may be better.",
            measure=measure,
            light="warn",
        )
    recent = max(2, len(values) // 3)
    before, now = max(values[:-recent]), max(values[-recent:])
    if now > before + max(0.002, 0.01 * abs(before)):
        return Trend(
            state="still improving",
            sentence=f"Still improving: {name} rose to {now:.3f} from {before:.3f} over the last "
            f"{recent} checkpoints. Train on.",
            measure=measure,
            light="ok",
        )
    moved = (
        f" Nearest neighbours overlap {stability[-1]:.2f} with the checkpoint before (1: features "
        "stand still)."
        if stability
        else ""
    )
    return Trend(
        state="stop",
        sentence=f"Stop: {name} has not risen over the last {recent} checkpoints ({now:.3f}, "
        f"{before:.3f} before).{moved} More steps are unlikely to help.",
        measure=measure,
        light="ok",
    )


def _series(history: Sequence[tuple[int, Mapping[str, float]]], name: str) -> list[float]:
    values = [numbers.get(name, math.nan) for _, numbers in history]
    return [value for value in values if math.isfinite(value)]


def _collapsed(numbers: Mapping[str, float]) -> bool:
    return (
        numbers.get("cosine", 0.0) > _CONSTANT
        or numbers.get("effective_rank", math.inf) < max(1.5, 0.02 * numbers.get("width", 0.0))
        or numbers.get("target_entropy", 0.0) > _UNIFORM
        or numbers.get("usage_entropy", 1.0) < _ONE
    )
