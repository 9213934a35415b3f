"""Choosing a hyper-parameter without labels, as RankMe's authors do, and how near that comes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from manyviews.core.errors import UsageError
from manyviews.core.in_words import InWords

LEVEL = 0.01
"""Settings whose rank is within this share of the highest are one plateau; our own number."""
ROWS = 10
"""Samples a dimension, below which a rank grows with their number."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A run among those that are chosen from.

    Attributes:
        name: of the run.
        rank: RankMe of what the loss sees, on the data of training.
        settings: dotted path -> value, of what is not alike in all runs; no seeds.
        accuracies: what was measured with labels, by its name; nothing is chosen by it.
    """

    name: str
    rank: float
    settings: Mapping[str, Any]
    accuracies: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def said(self) -> str:
        """Its settings in words; runs that share them are seeds of one another."""
        return ", ".join(f"{path} {value}" for path, value in sorted(self.settings.items()))


@dataclass(frozen=True, kw_only=True)
class Oracle:
    """The same choice with labels, beside the one without.

    Attributes:
        measure: what it is by.
        setting: the best one.
        value: of the best, a mean over its runs.
        chosen: of the one that was chosen without labels.
        agreement: Spearman's correlation of rank and this measure over settings; NaN where one of
            the two is the same everywhere.
    """

    measure: str
    setting: str
    value: float
    chosen: float
    agreement: float


@dataclass(frozen=True, kw_only=True)
class ChosenSetting(InWords):
    """What was chosen, and why.

    Attributes:
        setting: in words.
        runs: the runs that have it.
        why: the rule that decided.
        ranks: setting -> mean rank of its runs, the highest first.
        oracles: what labels say, where there were some.
        notes: what to know before believing it.
    """

    setting: str
    runs: tuple[str, ...]
    why: str
    ranks: Mapping[str, float]
    oracles: tuple[Oracle, ...] = ()
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """For people."""
        ranks = ", ".join(f"{setting}: {rank:.1f}" for setting, rank in self.ranks.items())
        return [
            f"chosen without labels: {self.setting} ({', '.join(self.runs)}), {self.why}",
            f"  RankMe of {ranks}",
            *(
                f"  {one.measure}: best {one.setting} with {one.value:.4f}; the choice has "
                f"{one.chosen:.4f}, {100 * (one.value - one.chosen):.2f} points less. "
                f"Rank correlation with RankMe {one.agreement:.2f}"
                for one in self.oracles
            ),
            *(f"  {note}" for note in self.notes),
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and text."""
        return vars(self) | {
            "ranks": dict(self.ranks),
            "oracles": [vars(one) for one in self.oracles],
        }


def choose_setting(candidates: Sequence[Candidate], *, notes: Sequence[str] = ()) -> ChosenSetting:
    """The setting of the highest RankMe; on a plateau the end at which it is first reached.

    Runs of one setting (seeds) count as their mean. Where one number is all that differs, and the
    ranks within `LEVEL` of the highest are of neighbouring values up to one end of those tried,
    the value furthest from that end is taken: what lies beyond it adds nothing.

    Raises:
        UsageError: fewer than two settings.

    Source: Garrido et al. 2023 (2210.02885), section 4: the highest rank, within one method, and
    on a plateau the extreme value that reaches it.
    """
    groups: dict[str, list[Candidate]] = {}
    for one in candidates:
        groups.setdefault(one.said, []).append(one)
    if len(groups) < 2:
        raise UsageError(
            f"{len(candidates)} runs have {len(groups)} different settings; wanted 2 or more to "
            "choose from. Give runs that differ in a setting of the method or of training."
        )
    mean = {said: fmean(one.rank for one in runs) for said, runs in groups.items()}
    ranks = dict(sorted(mean.items(), key=lambda item: -item[1]))
    chosen, why = next(iter(ranks)), "of the highest RankMe"
    values = {said: _only_number(runs[0]) for said, runs in groups.items()}
    if all(value is not None for value in values.values()):
        tried = sorted(groups, key=lambda said: values[said] or 0.0)
        chosen, why = _on_plateau(tried, mean) or (chosen, why)
    measures = [
        name
        for name in candidates[0].accuracies
        if all(name in one.accuracies for one in candidates)
    ]
    return ChosenSetting(
        setting=chosen,
        runs=tuple(one.name for one in groups[chosen]),
        why=why,
        ranks=ranks,
        oracles=tuple(_oracle(name, groups, mean, chosen) for name in measures),
        notes=tuple(notes),
    )


def _on_plateau(tried: Sequence[str], ranks: Mapping[str, float]) -> tuple[str, str] | None:
    """The first of a plateau that goes on to an end of what was tried; None without one."""
    top = max(ranks.values())
    level = [ranks[said] >= (1 - LEVEL) * top for said in tried]
    places = [i for i, inside in enumerate(level) if inside]
    first, last = places[0], places[-1]
    if len(places) < 2 or len(places) == len(tried) or last - first + 1 != len(places):
        return None
    if last == len(tried) - 1:
        return tried[first], "the least with which RankMe reaches its plateau"
    if first == 0:
        return tried[last], "the most with which RankMe keeps its plateau"
    return None


def _only_number(one: Candidate) -> float | None:
    """The value of the one setting that differs, if it is a number."""
    if len(one.settings) != 1:
        return None
    [value] = one.settings.values()
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number else None


def _oracle(
    measure: str, groups: Mapping[str, list[Candidate]], ranks: Mapping[str, float], chosen: str
) -> Oracle:
    means = {said: fmean(one.accuracies[measure] for one in runs) for said, runs in groups.items()}
    best = max(means, key=lambda said: means[said])
    agreement = spearman([ranks[said] for said in means], list(means.values()))
    return Oracle(
        measure=measure,
        setting=best,
        value=means[best],
        chosen=means[chosen],
        agreement=agreement,
    )


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's rank correlation, ties at their mean rank; NaN where one never changes."""
    a, b = _ranks(first), _ranks(second)
    middle_a, middle_b = fmean(a), fmean(b)
    over = sum((x - middle_a) * (y - middle_b) for x, y in zip(a, b, strict=True))
    squares = sum((x - middle_a) ** 2 for x in a) * sum((y - middle_b) ** 2 for y in b)
    return over / squares**0.5 if squares > 0 else float("nan")


def _ranks(values: Sequence[float]) -> list[float]:
    return [
        sum(other < value for other in values) + (sum(other == value for other in values) - 1) / 2
        for value in values
    ]
