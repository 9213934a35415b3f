"""The verb `compare`: runs side by side, as far as they can stand there."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manyviews import alike
from manyviews.bars import bar
from manyviews.core import UsageError
from manyviews.diagnosing import diagnose
from manyviews.evaluating import MAX_PIXELS, evaluate
from manyviews.evaluation import identity
from manyviews.evaluation.labelled import open_labelled
from manyviews.files import atomic, json_text
from manyviews.past import Past, read_diagnosis, read_evaluations, read_past
from manyviews.reports.table import Column, Row, Table, markdown, page
from manyviews.results import Evaluated
from manyviews.rows import (
    COLUMNS,
    cost,
    label_free,
    performance,
    performance_columns,
    untrained_rows,
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
        anyway: compare although data, channels, batch or budget differ, or labelled data of one
            name, and say in the table what does.
        max_pixels: larger images are unreadable.

    Raises:
        UsageError: no runs, no run directory, or runs that are not comparable.
    """
    forms = _forms(out)
    pasts = _open(runs)
    differences = alike.differing(pasts)
    _refuse(differences, anyway=anyway)
    held = [[r for r in read_evaluations(p) if not data or r["data"] == data] for p in pasts]
    if data:
        held = _measured(pasts, held, data, max_pixels=max_pixels)
    evaluations, older = alike.newest(pasts, held)
    changed = alike.differing_data(pasts, evaluations)
    _refuse(changed, anyway=anyway, advice="Evaluate again, or add")
    differences += changed
    diagnoses, notes = _diagnoses(pasts, data, max_pixels=max_pixels)
    notes = [*NOTES, *notes, *older, *alike.unknown_data(pasts, evaluations)]
    table = _table(pasts, diagnoses, evaluations, differences, notes)
    return Compared(table=table, files=[_write(path, table) for path in forms])


def _refuse(differences: Sequence[str], *, anyway: bool, advice: str = "Add") -> None:
    if differences and not anyway:
        raise UsageError(
            f"These runs are not comparable: {'; '.join(differences)}. {advice} --anyway to put "
            "them side by side all the same."
        )


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


def _measured(
    pasts: Sequence[Past],
    held: Sequence[Sequence[dict[str, Any]]],
    data: str,
    *,
    max_pixels: int,
) -> list[list[dict[str, Any]]]:
    """What runs hold on this data as it is now, and what they lacked, measured.

    Baselines are measured once for each way of seeing images.
    """
    now = _content(pasts, held, data, max_pixels=max_pixels)
    seen: list[dict[str, Any]] = []
    versions: dict[str, int] = {}
    found: list[list[dict[str, Any]]] = []
    for past, own in zip(pasts, held, strict=True):
        whole = sorted(own, key=lambda r: (r["version"], bool(r.get("beside"))))
        there = {r["protocol"]: r for r in whole if alike.may_be_of(r, now)}
        wanted = bool(past.encoder) and past.sees not in seen
        seen += [past.sees] if wanted else []
        missing = [
            name
            for name in PROTOCOLS
            if past.encoder
            and (
                name not in there
                or (wanted and not there[name].get("beside"))
                or there[name]["version"] < versions.get(name, 0)
            )
        ]
        if missing:
            log.info("evaluating %s: %s", past.name, ", ".join(missing))
            made = evaluate(
                past.directory,
                data=data,
                protocol=missing,
                baselines=wanted,
                max_pixels=max_pixels,
            )
            versions |= {one.result.protocol: one.result.version for one in made.found}
            there |= _as_held(made)
        found.append(list(there.values()))
    return found


def _content(
    pasts: Sequence[Past],
    held: Sequence[Sequence[Mapping[str, Any]]],
    data: str,
    *,
    max_pixels: int,
) -> str:
    """The hash of LABELLED as it is now; "" where no result has one, or it is not there now."""
    if not any(result.get("content") for own in held for result in own):
        return ""
    channels, cache = pasts[0].settings.data.channels, pasts[0].directory / "cache"
    try:
        train, test = (
            open_labelled(data, channels=channels, max_pixels=max_pixels, split=split)
            for split in ("train", "test")
        )
    except UsageError as error:
        log.warning("%s The table shows what the runs hold.", error)
        return ""
    with bar("reading") as progress:
        return identity.content(train, test, cache=cache, progress=progress)


def _as_held(made: Evaluated) -> dict[str, dict[str, Any]]:
    """Protocol -> its result as it would be read from the run, which may not be writable."""
    marks = {"data": made.data, "content": made.content}
    return {one.result.protocol: json.loads(json_text(one.to_json() | marks)) for one in made.found}


def _diagnoses(
    pasts: Sequence[Past], data: str, *, max_pixels: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """A diagnosis of each run, all of the same images; {} where one cannot be had, and why."""
    found: list[dict[str, Any]] = []
    notes: list[str] = []
    kept = [read_diagnosis(past) for past in pasts]
    same = {(d["data"], d["images"]) for d in kept if d}
    usable = len(same) == 1 and (not data or all(d.get("data") == data for d in kept if d))
    for past, diagnosis in zip(pasts, kept, strict=True):
        if not diagnosis or not usable:
            log.info("diagnosing %s", past.name)
            labels = data or (next(iter(same))[0] if usable and _labelled(kept) else "")
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
        rows=[*untrained_rows(pasts, evaluations), *rows],
        differences=differences,
        notes=notes,
    )


def _write(path: Path, table: Table) -> Path:
    text = {
        ".md": lambda: f"# {table.title}\n\n{markdown(table)}",
        ".json": lambda: json_text(table.to_json()) + "\n",
        ".html": lambda: page(table),
    }[path.suffix]()
    with atomic(path) as draft:
        draft.write_text(text, encoding="utf-8")
    return path
