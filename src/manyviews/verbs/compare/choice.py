"""What `compare --choose` chooses among runs, from what is known of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from manyviews.core import UsageError
from manyviews.core.nouns import Noun, common
from manyviews.core.settings import dump
from manyviews.diagnosis.choosing import ROWS, Candidate, ChosenSetting, choose_setting
from manyviews.diagnosis.verdict import COLLAPSED
from manyviews.runs.past import Past
from manyviews.verbs.compare.rows import TITLES

_ASIDE = (
    *("seed", "probe", "recipe", "data.source", "data.workers", "data.store", "data.max_"),
    *("train.log_every", "train.health_every", "train.checkpoint_every", "train.keep"),
    *("train.on_collapse",),
)
"""Settings that are not chosen: they change nothing that is learnt, or only its luck."""


def chosen_of(
    pasts: Sequence[Past],
    diagnoses: Sequence[Mapping[str, Any]],
    evaluations: Sequence[Sequence[Mapping[str, Any]]],
) -> ChosenSetting:
    """The choice by RankMe of the projector (of the encoder where there is none).

    A run that its diagnosis calls an alarm is left out: a training that broke can have any rank.

    Raises:
        UsageError: runs of several methods or encoders, or without a diagnosis; nothing is left to
            choose from.
    """
    for kinds, what in (
        ({type(past.settings.method) for past in pasts}, "methods"),
        ({repr(past.encoders) for past in pasts}, "encoders"),
    ):
        if len(kinds) > 1:
            raise UsageError(
                f"--choose compares ranks, which means nothing between {what}, and these runs "
                f"have {len(kinds)}. Give runs of one."
            )
    without = [past.name for past, found in zip(pasts, diagnoses, strict=True) if not found]
    if without:
        raise UsageError(
            f"{without[0]} has no diagnosis, so its rank is unknown. Run `manyviews diagnose` on "
            "it, or leave it out."
        )
    looked = {_looked(past, found) for past, found in zip(pasts, diagnoses, strict=True)}
    if len(looked) > 1:
        said = " but ".join(f"{images:,} of {name}" for name, images in sorted(looked))
        raise UsageError(
            "--choose compares ranks, which grow with the number of samples, and these runs were "
            f"diagnosed on {said}. Run `manyviews diagnose` on each with one --data and --sample."
        )
    flat = [dict(_flat(dump(past.settings))) for past in pasts]
    paths = sorted({path for tree in flat for path in tree if not path.startswith(_ASIDE)})
    varied = [path for path in paths if len({repr(tree.get(path)) for tree in flat}) > 1]
    space = "projector" if all("projector" in d["spaces"] for d in diagnoses) else "encoder"
    candidates = [
        Candidate(
            name=past.name,
            rank=float(found["spaces"][space]["rankme"]),
            settings={path: tree.get(path) for path in varied},
            accuracies={
                f"{TITLES.get(r['protocol'], r['protocol'])} on {r['data']}": float(r["value"])
                for r in results
            },
        )
        for past, found, tree, results in zip(pasts, diagnoses, flat, evaluations, strict=True)
        if not _alarm(found)
    ]
    left_out = [
        f"{past.name} is left out: {alarm}"
        for past, found in zip(pasts, diagnoses, strict=True)
        if (alarm := _alarm(found))
    ]
    if left_out and len({one.said for one in candidates}) < 2:
        raise UsageError(f"Too few runs are sound to choose from. {' '.join(left_out)}")
    notes = _notes(
        diagnoses, space, common(past.noun for past in pasts), labelled=bool(evaluations[0])
    )
    return choose_setting(candidates, notes=[*left_out, *notes])


def _alarm(found: Mapping[str, Any]) -> str:
    """What a diagnosis says of a run that collapsed; "" of one that did not."""
    answers: list[Mapping[str, Any]] = found.get("verdict", {}).get("answers", [])
    bad = [a for a in answers if a["question"] == COLLAPSED and a["light"] == "bad"]
    return str(bad[0]["sentence"]) if bad else ""


def _looked(past: Past, found: Mapping[str, Any]) -> tuple[str, int]:
    """Which samples a diagnosis is of: their number, and the run's own by what is in them."""
    own = str(found["data"]) == past.settings.data.source
    return past.digest[:8] if own else str(found["data"]), int(found["images"])


def _notes(
    diagnoses: Sequence[Mapping[str, Any]], space: str, noun: Noun, *, labelled: bool
) -> list[str]:
    samples = min(int(found["images"]) for found in diagnoses)
    top = max(float(found["spaces"][space]["rankme"]) for found in diagnoses)
    notes = [f"RankMe of the {space}, on {samples:,} {noun.many}; its authors take 25,600."]
    if samples < ROWS * top:
        notes.append(
            f"A rank of {top:.0f} of {samples:,} {noun.many} may be held down by their number: "
            f"`manyviews diagnose RUN --sample {round(ROWS * top)}` looks at more."
        )
    if not labelled:
        notes.append("Add --data LABELLED to see how far it is from the choice with labels.")
    return notes


def _flat(tree: Any, path: str = "") -> list[tuple[str, Any]]:
    if isinstance(tree, Mapping):
        return [
            pair
            for key, value in tree.items()
            for pair in _flat(value, f"{path}.{key}" if path else str(key))
        ]
    return [(path, tree)]
