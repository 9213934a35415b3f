"""The verb `compare`: runs side by side, as far as they can stand there."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manyviews.core import UsageError
from manyviews.diagnosing import diagnose
from manyviews.evaluating import MAX_PIXELS, evaluate
from manyviews.files import atomic, json_text
from manyviews.reports.table import Cell, Column, Row, Table, markdown, page
from manyviews.rows import (
    COLUMNS,
    Past,
    cost,
    label_free,
    performance,
    performance_columns,
    read_diagnosis,
    read_evaluations,
    read_past,
)

log = logging.getLogger("manyviews")

PROTOCOLS = ("knn", "linear", "lowshot")
"""What `compare` sees to where it is given labels."""
FORMS = (".md", ".json", ".html")

NOTES = (
    "Bold, or green, is the best value of a column and every other whose 95 % interval reaches "
    "that of the best: those cannot be told apart. Columns without intervals, and columns whose "
    "better direction depends on the method or the task, mark nothing.",
    "A row is one training. Intervals are over the draw of test images (kNN, linear), of training "
    "labels (low-shot) or of images looked at (change); how far another seed would end up is in "
    "none of them. Train several seeds to know.",
    "Entropy, reconstruction and rank depend on the width of the features and on the method; they "
    "describe a run and do not rank methods.",
)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Runs side by side.

    Attributes:
        table: rows, columns, what differs.
        files: written.
    """

    table: Table
    files: list[Path] = field(default_factory=list[Path])

    def lines(self) -> list[str]:
        """For people: the tables as Markdown."""
        return [*markdown(self.table).splitlines(), *(f"wrote {path}" for path in self.files)]

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and text."""
        return self.table.to_json() | {"files": [str(path) for path in self.files]}


def compare(
    runs: Sequence[str | Path],
    *,
    data: str = "",
    out: str | Path = "",
    anyway: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> Compared:
    """Put runs side by side: invariance, grouping, entropy, reconstruction, rank, accuracy, cost.

    A run that has no diagnosis gets one, with `diagnose`'s defaults. Values whose intervals
    overlap are never told apart: the best of a column is marked together with all that reach it.

    Args:
        runs: run directories. One that is given twice is counted once.
        data: LABELLED. Protocols that a run lacks on it (knn, linear, lowshot) are measured, beside
            raw pixels and untrained encoders, and clusters are held against its labels. Without it
            the table shows what the runs hold.
        out: a directory to write compare.md, compare.json and compare.html in, or one file with
            one of those endings.
        anyway: compare although data, channels, batch or budget differ, and say in the table
            what does.
        max_pixels: larger images are unreadable.

    Raises:
        UsageError: no runs, no run directory, or runs that are not comparable.
    """
    forms = _forms(out)
    pasts = _open(runs)
    differences = differing(pasts)
    if differences and not anyway:
        raise UsageError(
            f"These runs are not comparable: {'; '.join(differences)}. Add --anyway to put them "
            "side by side all the same."
        )
    if data:
        _evaluate_missing(pasts, data, max_pixels=max_pixels)
    diagnoses, notes = _diagnoses(pasts, data, max_pixels=max_pixels)
    evaluations, older = _evaluations(pasts, data)
    table = _table(pasts, diagnoses, evaluations, differences, [*NOTES, *notes, *older])
    return Compared(table=table, files=[_write(path, table) for path in forms])


def differing(pasts: Sequence[Past]) -> list[str]:
    """What comparable runs share and these do not, a line each with who has what."""
    facts = {
        "data": [f"{p.settings.data.source} ({p.images:,} images, {p.digest[:8]})" for p in pasts],
        "channels": [str(p.settings.data.channels) for p in pasts],
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


def _forms(out: str | Path) -> list[Path]:
    if not str(out):
        return []
    path = Path(out)
    if path.suffix in FORMS and not path.is_dir():
        return [path]
    if path.is_file() or (path.suffix and not path.is_dir()):
        raise UsageError(
            f"--out {path} should be a directory, or a file that ends in {' or '.join(FORMS)}."
        )
    return [path / f"compare{form}" for form in FORMS]


def _open(runs: Sequence[str | Path]) -> list[Past]:
    """The runs, each once, by the shortest names that tell them apart."""
    if isinstance(runs, str | Path):
        runs = [runs]
    given: dict[Path, Path] = {}
    for run in runs:
        given.setdefault(Path(run).resolve(), Path(run))
    paths = list(given.values())
    if not paths:
        raise UsageError("compare wants runs: manyviews compare RUN RUN ....")
    if len(paths) < len(runs):
        log.warning("%d of the runs were given twice; each counts once.", len(runs) - len(paths))
    last = [path.resolve().name for path in paths]
    names = [
        name if last.count(name) == 1 else str(path) for name, path in zip(last, paths, strict=True)
    ]
    return [read_past(path, name=name) for path, name in zip(paths, names, strict=True)]


def _evaluate_missing(pasts: Sequence[Past], data: str, *, max_pixels: int) -> None:
    """Measure what runs lack; baselines once for each way of seeing images."""
    seen: list[dict[str, Any]] = []
    versions: dict[str, int] = {}
    for past in pasts:
        if not past.encoder:
            continue
        there = {r["protocol"]: r for r in read_evaluations(past) if r["data"] == data}
        wanted = past.sees not in seen
        seen += [past.sees] if wanted else []
        missing = [
            name
            for name in PROTOCOLS
            if name not in there
            or (wanted and not there[name].get("beside"))
            or there[name]["version"] < versions.get(name, 0)
        ]
        if missing:
            log.info("evaluating %s: %s", past.name, ", ".join(missing))
            found = evaluate(
                past.directory,
                data=data,
                protocol=missing,
                baselines=wanted,
                max_pixels=max_pixels,
            )
            versions |= {one.result.protocol: one.result.version for one in found.found}


def _diagnoses(
    pasts: Sequence[Past], data: str, *, max_pixels: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """A diagnosis of each run, all of the same images; {} where one cannot be had, and why."""
    found: list[dict[str, Any]] = []
    notes: list[str] = []
    kept = [read_diagnosis(past) for past in pasts]
    alike = {(d["data"], d["images"]) for d in kept if d}
    usable = len(alike) == 1 and (not data or all(d.get("data") == data for d in kept if d))
    for past, diagnosis in zip(pasts, kept, strict=True):
        if not diagnosis or not usable:
            log.info("diagnosing %s", past.name)
            labels = data or (next(iter(alike))[0] if usable and _labelled(kept) else "")
            try:
                made = diagnose(past.directory, labels=labels, max_pixels=max_pixels).to_json()
                diagnosis = json.loads(json_text(made))
            except UsageError as error:
                notes.append(f"{past.name} has no diagnosis: {error}")
                diagnosis = {}
        found.append(diagnosis)
    looked = {(d["data"], d["images"]) for d in found if d}
    if len(looked) > 1:
        said = ", ".join(f"{images} of {name}" for name, images in sorted(looked))
        notes.append(f"Label-free columns look at different images: {said}.")
    return found, notes


def _labelled(diagnoses: Sequence[Mapping[str, Any]]) -> bool:
    return any(d.get("groups") for d in diagnoses)


def _evaluations(pasts: Sequence[Past], data: str) -> tuple[list[list[dict[str, Any]]], list[str]]:
    """The evaluations of each run that were made in the same way as those of the others."""
    found = [[r for r in read_evaluations(p) if not data or r["data"] == data] for p in pasts]
    newest: dict[tuple[str, str], int] = {}
    for result in (r for results in found for r in results):
        key = (result["protocol"], result["data"])
        newest[key] = max(newest.get(key, 0), int(result["version"]))
    notes: list[str] = []
    kept: list[list[dict[str, Any]]] = []
    for past, results in zip(pasts, found, strict=True):
        best: dict[tuple[str, str], dict[str, Any]] = {}
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


def _table(
    pasts: Sequence[Past],
    diagnoses: Sequence[Mapping[str, Any]],
    evaluations: Sequence[Sequence[Mapping[str, Any]]],
    differences: Sequence[str],
    notes: list[str],
) -> Table:
    tried = [set(d.get("invariance", {}).get("encoder", {})) for d in diagnoses if d]
    shared = sorted(set[str].intersection(*tried)) if tried else []
    if shared:
        notes.append(f"Change is the mean over: {', '.join(shared)}.")
    rows: list[Row] = []
    for past, diagnosis, results in zip(pasts, diagnoses, evaluations, strict=True):
        cells = performance(results) | label_free(diagnosis, shared) | cost(past)
        words = past.words | {"verdict": diagnosis.get("verdict", {}).get("state", "-")}
        rows.append(Row(name=past.name, cells=cells, words=words))
    flat = [result for results in evaluations for result in results]
    columns: list[Column] = [*performance_columns(flat), *COLUMNS]
    title = "1 run" if len(rows) == 1 else f"{len(rows)} runs compared"
    return Table(
        title=title,
        columns=columns,
        rows=[*_beside(pasts, evaluations), *rows],
        differences=differences,
        notes=notes,
    )


def _beside(pasts: Sequence[Past], evaluations: Sequence[Sequence[Mapping[str, Any]]]) -> list[Row]:
    """Rows of what no training has touched; equal ones once."""
    rows: dict[str, dict[str, Cell]] = {}
    for past, results in zip(pasts, evaluations, strict=True):
        own: dict[str, dict[str, Cell]] = {}
        for result in results:
            for name, beside in result.get("beside", {}).items():
                cells = performance([dict(beside) | {"data": result["data"]}])
                kind = past.settings.encoder.name
                label = f"untrained {kind}" if name == "untrained encoder" else name
                own.setdefault(label, {}).update(cells)
        for label, cells in own.items():
            known = rows.get(label, {})
            if any(known.get(key, cell) != cell for key, cell in cells.items()):
                label = f"{label}, as {past.name} sees images"
            rows.setdefault(label, {}).update(cells)
    order = sorted(rows, key=lambda name: name.startswith("untrained"))
    return [Row(name=name, cells=rows[name], trained=False) for name in order]


def _write(path: Path, table: Table) -> Path:
    text = {
        ".md": lambda: f"# {table.title}\n\n{markdown(table)}",
        ".json": lambda: json_text(table.to_json()) + "\n",
        ".html": lambda: page(table),
    }[path.suffix]()
    with atomic(path) as draft:
        draft.write_text(text, encoding="utf-8")
    return path
