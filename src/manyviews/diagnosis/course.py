"""Where a training is going, and which of its checkpoints to keep, without labels."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from manyviews.core import UsageError
from manyviews.diagnosis.alarms import Light
from manyviews.diagnosis.state import collapsed

Phase = Literal["too early", "still improving", "stop", "ended", "getting worse"]

_PROGRESS = ("view_consistency", "lidar")
"""What `trend` judges by, the first that was measured often enough; more is better in one run."""


@dataclass(frozen=True, kw_only=True)
class _Words:
    """What numbers and times of a history are called, so that no two numbers share a name."""

    titles: Mapping[str, str]
    times: str


_KEPT = _Words(
    titles={
        "view_consistency": "view consistency",
        "lidar": "LiDAR",
        "effective_rank": "the effective rank",
    },
    times="checkpoints",
)
_LOGGED = _Words(
    titles={
        "view_consistency": "the share of views found in their batch",
        "lidar": "the batches' LiDAR",
        "effective_rank": "the batches' effective rank",
    },
    times="stretches of the training",
)

_CHOICE = ("lidar", "view_consistency", "rankme")
"""What `choose` goes by, the first that all checkpoints have; more is better in one run."""

_ENDED, _HIGH = 0.1, 0.5
"""Shares of the peak learning rate: below the one a schedule has ended, from the other on it is
high."""


_MANY = 12
"""From so many values on they are looked at in groups."""


@dataclass(frozen=True, kw_only=True)
class Trend:
    """Where a training is going.

    Attributes:
        state: what to do: train on ("too early", "still improving"), or not; "ended" where the
            learning rate has gone, so that features stand still whatever more steps would do.
        sentence: for people.
        measure: what was judged; "" where nothing could be.
        light: ok, or warn where it gets worse.
        rising: whether it rose for as long as the learning rate was high.
    """

    state: Phase
    sentence: str
    measure: str
    light: Light
    rising: bool = False


def trend(history: Sequence[tuple[int, Mapping[str, float]]], *, of_batches: bool = False) -> Trend:
    """Judge whether training on is worth it. Our own heuristic; no published study backs it.

    Judged is view consistency, or LiDAR where that was not measured, at four checkpoints or more.
    The last two checkpoints against the best before them: both 5 % (and 0.01) lower is "getting
    worse"; twelve or more are taken in groups, whose spread counts too. So is an effective rank
    that at both is below half of its earlier maximum. Otherwise "still improving" where the best of
    the last third of the checkpoints is 1 % (and 0.002) above the best before, else "stop".

    Where the learning rate of the last checkpoint is below a tenth of its peak, the schedule has
    "ended" and nothing says "stop": features stand still because the rate has gone. Whether they
    rose is then asked of the checkpoints with half of the peak or more.

    Args:
        history: (step, name -> value) of checkpoints of one run, measured the same way, in the
            order of steps. Names: "view_consistency", "lidar", "effective_rank",
            "graph_stability" (to the checkpoint before), "lr" (as a share of its peak). Missing
            and NaN values are left out.
        of_batches: the numbers are those of training's own batches, over stretches of it, and are
            called so: in a batch views are found more easily than among a thousand samples.

    Raises:
        UsageError: steps that do not rise.
    """
    steps = [step for step, _ in history]
    if any(later <= earlier for earlier, later in pairwise(steps)):
        raise UsageError(
            f"Checkpoints come at steps {steps}; wanted them in rising order. Sort the checkpoints."
        )
    words = _LOGGED if of_batches else _KEPT
    worse = _worse(history, words)
    if worse is not None:
        return worse
    rates = _series(history, "lr")
    if rates and rates[-1] < _ENDED:
        return _ended([(s, n) for s, n in history if n.get("lr", 0.0) >= _HIGH], words)
    measure, values = _judged(history)
    if not measure:
        return Trend(
            state="too early",
            sentence="Too early: wanted view consistency or LiDAR at four checkpoints or more.",
            measure="",
            light="ok",
        )
    return _progress(measure, values, _series(history, "graph_stability"), words)


def choose(checkpoints: Mapping[int, Mapping[str, float]]) -> int:
    """The step of the checkpoint to keep, without labels, among those of one run.

    Collapsed ones are left out: a mean cosine above 0.9999, fewer than 1.5 directions (or 2 % of
    "width"), or the prototypes' collapses of `state_of`. Of the others the highest LiDAR wins;
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
    sound = {step: numbers for step, numbers in checkpoints.items() if not collapsed(numbers)}
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


def _judged(history: Sequence[tuple[int, Mapping[str, float]]]) -> tuple[str, list[float]]:
    """The first measure that was taken often enough, and its values; "" for none."""
    for name in _PROGRESS:
        values = _series(history, name)
        if len(values) >= 4:
            return name, values
    return "", []


def _worse(history: Sequence[tuple[int, Mapping[str, float]]], words: _Words) -> Trend | None:
    measure, values = _judged(history)
    ranks = _series(history, "effective_rank")
    said = ""
    if len(ranks) >= 4 and max(ranks[-2:]) < 0.5 * max(ranks[:-2]):
        measure = "effective_rank"
        said = f"{words.titles[measure]} fell to {ranks[-1]:.1f} from {max(ranks[:-2]):.1f}"
    elif measure:
        calm, noise = _calm(values)
        best = max(calm[:-2])
        if max(calm[-2:]) < best - max(0.01, 0.05 * abs(best), 2 * noise):
            said = f"{words.titles[measure]} fell to {calm[-1]:.3f} from {best:.3f}"
    if not said:
        return None
    return Trend(
        state="getting worse",
        sentence=f"Getting worse: {said}. An earlier checkpoint may be better.",
        measure=measure,
        light="warn",
    )


def _calm(values: Sequence[float]) -> tuple[list[float], float]:
    """Many values as the medians of six or more groups in their order, and half a group's spread.

    Those of a training are of one batch each, so that the best of many is above all by chance.
    """
    if len(values) < _MANY:
        return list(values), 0.0
    size = len(values) // 6
    first = len(values) % size  # what is left over is the oldest
    groups = [values[i : i + size] for i in range(first, len(values), size)]
    spread = statistics.median((max(group) - min(group)) / 2 for group in groups)
    return [statistics.median(group) for group in groups], spread


def _ended(high: Sequence[tuple[int, Mapping[str, float]]], words: _Words) -> Trend:
    """Of a schedule that is over, from the checkpoints while its rate was high."""
    measure, values = _judged(high)
    rose, said = False, "Whether a longer one would help, this run cannot tell."
    if measure:
        rose, before, now = _rose(values)
        moved = f"{words.titles[measure]} went from {before:.3f} to {now:.3f}"
        said = (
            f"While its rate was high, {moved} and was still rising: a longer one may well help."
            if rose
            else f"While its rate was high, {moved} and had stopped rising. {said}"
        )
    return Trend(
        state="ended",
        sentence=f"The schedule has ended. {said}",
        measure=measure,
        light="ok",
        rising=rose,
    )


def _recent(values: Sequence[float]) -> int:
    return max(2, len(values) // 3)


def _rose(values: Sequence[float]) -> tuple[bool, float, float]:
    """Whether the best of the last third is above the best before it; that, and the later one."""
    recent = _recent(values)
    before, now = max(values[:-recent]), max(values[-recent:])
    return now > before + max(0.002, 0.01 * abs(before)), before, now


def _progress(measure: str, values: list[float], stability: list[float], words: _Words) -> Trend:
    name, recent = words.titles[measure], _recent(values)
    rose, before, now = _rose(values)
    if rose:
        return Trend(
            state="still improving",
            sentence=f"Still improving: {name} rose to {now:.3f} from {before:.3f} over the last "
            f"{recent} {words.times}. Train on.",
            measure=measure,
            light="ok",
            rising=True,
        )
    moved = (
        f" Nearest neighbours overlap {stability[-1]:.2f} with the checkpoint before (1: features "
        "stand still)."
        if stability
        else ""
    )
    return Trend(
        state="stop",
        sentence=f"Stop: {name} has not risen over the last {recent} {words.times} ({now:.3f}, "
        f"{before:.3f} before), though the learning rate is high.{moved} More steps are unlikely "
        "to help.",
        measure=measure,
        light="ok",
    )


def _series(history: Sequence[tuple[int, Mapping[str, float]]], name: str) -> list[float]:
    values = [numbers.get(name, math.nan) for _, numbers in history]
    return [value for value in values if math.isfinite(value)]
