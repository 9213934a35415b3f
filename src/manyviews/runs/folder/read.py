"""What earlier verbs left in a run directory, read with distrust.

A disk or a hand may have been at it. What does not fit counts as missing, with a warning, so that
a verb can make it again.
"""

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from manyviews.core import UsageError
from manyviews.core.files import read_lines
from manyviews.runs import saved
from manyviews.runs.folder.paths import Paths
from manyviews.runs.settings import AnyRun

log = logging.getLogger("manyviews")

_NUMBER = (int, float)
_TEXT = ("kind", "message", "name", "light")
_BARS = dict.fromkeys(("change", "low", "high", "cosine"), _NUMBER)
_ESTIMATE = dict.fromkeys(("value", "low", "high"), _NUMBER)
_MEASURED = {
    **{"protocol": str, "metric": str, "value": _NUMBER, "measures": {str: _ESTIMATE}},
    **{"train": int, "n": int, "version": int},
}
_DIAGNOSIS = {
    "data": str,
    "images": int,
    "state": {"title": str, "sentence": str},
    "verdict": {"answers": list, "next": list},
    "checkpoints": {str: {str: _NUMBER}},
    "spaces": {str: {str: _NUMBER}},
    "invariance": {str: {str: _BARS}},
    "groups": {str: _NUMBER},
}


def read_diagnosis(directory: Path, encoder: str = "") -> dict[str, Any]:
    """RUN/diagnosis.json, as `diagnosis.result.Diagnosed.to_json`; {} where missing or damaged.

    Measures that were not finite are left out. Of a run with several encoders, that of one.
    """
    path = Paths(directory).diagnosis(encoder)
    found = read_json(path)
    if not found:
        return {}
    for part in ("spaces", "checkpoints"):
        if isinstance(found.get(part), dict):
            found[part] = {
                name: _finite(numbers) if isinstance(numbers, dict) else numbers
                for name, numbers in found[part].items()
            }
    groups, usage = found.get("groups"), found.get("prototypes")
    whole = (
        _fits(found, _DIAGNOSIS)
        and all(step.isdigit() for step in found["checkpoints"])
        and (not groups or _fits(groups, dict.fromkeys(("nmi", "purity", "clusters"), _NUMBER)))
        and (usage is None or _fits(usage, {str: _NUMBER}))
        and isinstance(found.get("best"), int | None)
    )
    return found if whole else _damaged(path)


def read_evaluation(path: Path) -> dict[str, Any]:
    """One of RUN/evaluation/*.json, as `evaluation.result.Beside.to_json` and on what; {} as above.

    Also {} for what is no result of a protocol.
    """
    found = read_json(path)
    if "measures" not in found:
        return {}
    beside = found.get("beside", {})
    texts = (
        "data",
        "train_data",
        "which",
        "step",
        "layer",
        "pool",
        "averaged",
        "encoder",
        "content",
    )
    whole = (
        _fits(found, _MEASURED)
        and found["metric"] in found["measures"]
        and _fits(beside, {str: _MEASURED})
        and all(one["metric"] in one["measures"] for one in beside.values())
        and all(_fits(one.get("right", {}), {str: list}) for one in (found, *beside.values()))
        and all(isinstance(found.get(name, ""), str) for name in texts)
    )
    return found if whole else _damaged(path)


def read_metrics(directory: Path) -> list[dict[str, Any]]:
    """RUN/metrics.jsonl: records with a step and numbers or null; what is none is left out."""
    found: list[dict[str, Any]] = []
    for record in read_lines(Paths(directory).metrics):
        if _is_number(record.get("step")) and isinstance(record.get("kind"), str):
            kept = {k: v for k, v in record.items() if k in _TEXT or v is None or _is_number(v)}
            found.append(kept)
    return found


def read_quarantine(directory: Path) -> list[dict[str, Any]]:
    """RUN/quarantine.jsonl: the path of each unreadable file, and the reason."""
    records = read_lines(Paths(directory).quarantine)
    return [record for record in records if _fits(record, {"path": str, "reason": str})]


def read_began(directory: Path) -> dict[str, Any]:
    """RUN/began.json: the command, and the digest and number of the images.

    Raises:
        UsageError: it is missing or damaged.
    """
    path = Paths(directory).began
    if not path.is_file():
        raise UsageError(f"{directory} is no run directory: it has no {path.name}.")
    found = read_json(path)
    if not _fits(found, {"command": str, "digest": str, "images": int}):
        raise UsageError(f"{path} is damaged. Copy it from a backup of the run, or train again.")
    return found


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; {} where there is none, with a warning where something else is there."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        return _damaged(path)
    return cast("dict[str, Any]", found) if isinstance(found, dict) else _damaged(path)


def _damaged(path: Path) -> dict[str, Any]:
    log.warning("%s is damaged and passed over. Make it again, or delete it.", path)
    return {}


def _finite(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Without what json calls null or NaN; what is no number at all stays, to be found."""
    return {k: v for k, v in numbers.items() if not (v is None or v != v)}


def _is_number(value: Any) -> bool:
    return isinstance(value, _NUMBER) and not isinstance(value, bool) and math.isfinite(value)


def _fits(value: Any, form: Any) -> bool:
    """Whether JSON has a form: types; {str: form}, of any names; {name: form}, at least those."""
    if form is _NUMBER or form is int:
        return _is_number(value) and isinstance(value, form)
    if not isinstance(form, dict):
        return isinstance(value, form)
    if not isinstance(value, dict):
        return False
    forms = cast("dict[Any, Any]", form)
    values = cast("dict[str, Any]", value)
    if str in forms:
        return all(_fits(one, forms[str]) for one in values.values())
    return all(name in values and _fits(values[name], one) for name, one in forms.items())


def is_run(directory: Path) -> bool:
    """Whether a path is a run directory."""
    return Paths(directory).config.is_file()


def config_text(directory: Path) -> str:
    """RUN/config.yaml. Raises UsageError where it is not there."""
    return run_text(Paths(directory).config, directory)


def saved_run(directory: Path) -> AnyRun:
    """The settings that a run directory began with.

    Raises:
        UsageError: it is no run directory, or its config.yaml was damaged.
    """
    path = Paths(directory).config
    return saved.from_yaml(run_text(path, directory), name=str(path))


def run_text(path: Path, directory: Path) -> str:
    """A file that every run directory has.

    Raises:
        UsageError: it is not there.
    """
    if not path.is_file():
        raise UsageError(f"{directory} is no run directory: it has no {path.name}.")
    return path.read_text(encoding="utf-8")
