"""Whether runs, and what was measured of them, may stand side by side."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from manyviews.runs.past import Past

_Result = Mapping[str, Any]
"""As `past.read_evaluations` reads it."""


def differing(pasts: Sequence[Past]) -> list[str]:
    """What comparable runs share and these do not, a line each with who has what."""
    fed = {type(p.encoders[0].input) for p in pasts}  # those of sound are no images' channels
    facts = {
        "data": [
            f"{p.settings.data.source} ({p.images:,} {p.noun.many}, {p.digest[:8]})" for p in pasts
        ],
        "channels": [str(p.channels) for p in pasts] if len(fed) == 1 else [""] * len(pasts),
        "budget": [p.budget for p in pasts],
        "batch": [str(p.settings.data.batch_size) for p in pasts],
        "end": [p.ended if p.ended == "done" else f"{p.ended} at {p.steps:,}" for p in pasts],
    }
    digests = {p.digest for p in pasts}
    if len(digests) == 1:  # the same images by another name
        facts["data"] = [""] * len(pasts)
    found: list[str] = []
    for label, values in facts.items():
        if len(set(values)) > 1:
            having: dict[str, list[str]] = {}
            for past, value in zip(pasts, values, strict=True):
                having.setdefault(value, []).append(past.name)
            said = [f"{value} in {', '.join(names)}" for value, names in having.items()]
            found.append(f"{label} is {' but '.join(said)}")
    return found


def newest(
    pasts: Sequence[Past], held: Sequence[Sequence[_Result]]
) -> tuple[list[list[_Result]], list[str]]:
    """The evaluations of each run that were made in the same way as those of the others.

    Returns:
        A list a run, and a line on each result that is left out.
    """
    newest: dict[tuple[str, str], int] = {}
    for result in (r for results in held for r in results):
        key = (result["protocol"], result["data"])
        newest[key] = max(newest.get(key, 0), int(result["version"]))
    notes: list[str] = []
    kept: list[list[_Result]] = []
    for past, results in zip(pasts, held, strict=True):
        best: dict[tuple[str, str], _Result] = {}
        for result in results:
            key = (result["protocol"], result["data"])
            if result["version"] < newest[key]:
                notes.append(
                    f"{past.name}: {key[0]} on {key[1]} was measured by an older version of the "
                    "protocol and is left out; evaluate it again."
                )
            elif key not in best or result.get("beside"):
                best[key] = result
        kept.append(list(best.values()))
    return kept, notes


def may_be_of(result: _Result, content: str) -> bool:
    """Whether a result may be of labelled data of this hash: one of the two may be unknown, ""."""
    known = str(result.get("content", ""))
    return not known or not content or known == content


def differing_data(pasts: Sequence[Past], held: Sequence[Sequence[_Result]]) -> list[str]:
    """Labelled data of one name that are not the same images and labels, a line each."""
    groups: dict[tuple[str, str], list[str]] = {}
    for protocol, data, marks in _measured(pasts, held):
        having: dict[str, list[str]] = {}
        for name, content in marks.items():
            if content:
                having.setdefault(content, []).append(name)
        if len(having) > 1:
            said = [f"{content[:8]} in {', '.join(names)}" for content, names in having.items()]
            groups.setdefault((data, " but ".join(said)), []).append(protocol)
    return [
        f"labelled data {data} is {said} ({', '.join(protocols)})"
        for (data, said), protocols in groups.items()
    ]


def unknown_data(pasts: Sequence[Past], held: Sequence[Sequence[_Result]]) -> list[str]:
    """A line on each data set whose content was not noted, where others are held against it."""
    unknown: dict[str, dict[str, None]] = {}
    for _, data, marks in _measured(pasts, held):
        if len(marks) > 1:
            for name in (name for name, content in marks.items() if not content):
                unknown.setdefault(data, {})[name] = None
    return [
        f"Whether {', '.join(names)} saw the same samples of {data} as the others is unknown: an "
        "older version did not note them. Evaluate again to know."
        for data, names in unknown.items()
    ]


def _measured(
    pasts: Sequence[Past], held: Sequence[Sequence[_Result]]
) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Each protocol and data, with the hash of that data in each run that has a result on it."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for past, results in zip(pasts, held, strict=True):
        for result in results:
            marks = found.setdefault((str(result["protocol"]), str(result["data"])), {})
            marks[past.name] = str(result.get("content", ""))
    for (protocol, data), marks in found.items():
        yield protocol, data, marks
