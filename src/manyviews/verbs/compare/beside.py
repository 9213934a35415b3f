"""Runs side by side, as far as they can stand there."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

from manyviews.core import UsageError
from manyviews.core.extras import frame
from manyviews.core.files import atomic, json_text
from manyviews.core.in_words import InWords
from manyviews.core.inputs import image_channels
from manyviews.core.nouns import common
from manyviews.core.progress import bar
from manyviews.diagnosis.choosing import ChosenSetting
from manyviews.diagnosis.result import DiagnosedEach
from manyviews.diagnosis.verdict import WORDS
from manyviews.evaluation import identity
from manyviews.evaluation.labelled import open_labelled
from manyviews.evaluation.result import Evaluated
from manyviews.reports.table import Column, Row, Table, markdown, page
from manyviews.runs.folder.paths import Paths
from manyviews.runs.past import Past, diagnosis_of, read_past
from manyviews.runs.subject import TIMM
from manyviews.verbs.compare import differences
from manyviews.verbs.compare.rows import (
    COLUMNS,
    Tested,
    cost,
    label_free,
    paired,
    performance,
    performance_columns,
    tested,
    untrained_rows,
)
from manyviews.verbs.diagnose import diagnose
from manyviews.verbs.evaluate import evaluate
from manyviews.views.by_input import plain_of

log = logging.getLogger("manyviews")

PROTOCOLS = ("knn", "linear", "lowshot")
"""What `compare` sees to where it is given labels."""
_ASKED = ("learned", "not collapsed", "enough")
"""The verdict's questions, in a word each."""
FORMS = (".md", ".json", ".html")

NOTES = (
    "Bold, or green, is the best value of a column and every other that cannot be told from it. "
    "Rows that were tested on the same {samples} are held against one another {sample} by {sample} "
    "(McNemar's exact test; of several draws of labels Student's t), which tells apart more than "
    "intervals do; others by whether their 95 % intervals overlap. Columns in which nothing can be "
    "told apart, columns without intervals, and those whose better direction depends on the method "
    "or the task, mark nothing.",
    '"No better than untrained" and "worse than untrained" are said of a run by the same test '
    "against its own encoder as it was before training. Each test is at 5 %: of twenty one is "
    "expected to be wrong.",
    "A row is one training. Intervals are over the draw of test {samples} (kNN, linear), of "
    "training labels (low-shot) or of {samples} looked at (change); how far another seed would end "
    "up is in none of them. Train several seeds to know.",
    "Entropy, reconstruction and rank depend on the width of the features and on the method; they "
    "describe a run and do not rank methods.",
)


@dataclass(frozen=True, kw_only=True)
class Compared(InWords):
    """Runs side by side.

    Attributes:
        table: rows, columns, what differs.
        files: written.
        choice: what was chosen among them, if that was asked.
    """

    table: Table
    files: list[Path] = field(default_factory=list[Path])
    choice: ChosenSetting | None = None

    def lines(self) -> list[str]:
        """For people: the tables as Markdown."""
        choice = self.choice.lines() if self.choice else []
        written = [f"wrote {path}" for path in self.files]
        return [*markdown(self.table).splitlines(), *choice, *written]

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and text."""
        choice = {"choice": self.choice.to_json()} if self.choice else {}
        return self.table.to_json() | {"files": [str(path) for path in self.files]} | choice

    def to_pandas(self) -> Any:
        """A pandas.DataFrame: a row a run, a column a measure.

        Raises:
            UsageError: pandas is not installed.
        """
        columns = {column.key: column.title for column in self.table.columns}
        rows = [
            {"run": row.name, **row.words}
            | {columns[k]: cell.value for k, cell in row.cells.items() if k in columns}
            for row in self.table.rows
        ]
        return frame(rows, index="run")


def refuse(differences: Sequence[str], *, anyway: bool, advice: str = "Add") -> None:
    """Say what keeps runs from being compared, unless they are to be compared anyway."""
    if differences and not anyway:
        raise UsageError(
            f"These runs are not comparable: {'; '.join(differences)}. {advice} --anyway to put "
            "them side by side all the same."
        )


def forms_of(out: str | Path) -> list[Path]:
    """The files that --out asks for."""
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


def opened(runs: Sequence[str | Path]) -> list[Past]:
    """The runs, each once, by the shortest names that tell them apart; a row an encoder."""
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
    return [
        read_past(path, name=f"{name}, {which}" if which else name, which=which)
        for path, name in zip(paths, names, strict=True)
        for which in Paths(path).encoders() or [""]
    ]


def others_of(runs: Sequence[str | Path], data: str) -> tuple[list[str | Path], list[str]]:
    """The run directories among what is to be compared, and the encoders of others.

    Raises:
        UsageError: there are such encoders and nothing to measure them on.
    """
    given = [runs] if isinstance(runs, str | Path) else list(runs)
    others = [str(r) for r in given if str(r).startswith(TIMM) or Path(r).is_file()]
    if others and not data:
        raise UsageError(
            f"{others[0]} is no run, so nothing is known of it: add --data LABELLED to measure it."
        )
    return [run for run in given if str(run) not in others], list(dict.fromkeys(others))


def others_rows(
    others: Sequence[str], data: str, *, max_pixels: int
) -> list[tuple[Row, dict[str, Tested]]]:
    """A row for each encoder that no run here trained, measured on labelled data."""
    rows: list[tuple[Row, dict[str, Tested]]] = []
    for spec in others:
        log.info("evaluating %s", spec)
        made = evaluate(
            spec, data=data, protocol=list(PROTOCOLS), baselines=False, max_pixels=max_pixels
        )
        found = list(_as_held(made).values())
        words = {"recipe": "-", "ended": "not trained here"}
        rows.append((Row(name=spec, cells=performance(found), words=words), tested(found)))
    return rows


def measured(
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
    seen: list[Any] = []
    versions: dict[str, int] = {}
    found: list[list[dict[str, Any]]] = []
    for past, own in zip(pasts, held, strict=True):
        whole = sorted(own, key=lambda r: (r["version"], bool(r.get("beside"))))
        there = {r["protocol"]: r for r in whole if differences.may_be_of(r, now)}
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
                or not there[name].get("right")  # an older one, which no test can pair
            )
        ]
        if missing:
            log.info("evaluating %s: %s", past.name, ", ".join(missing))
            made = evaluate(
                past.directory,
                data=data,
                which=past.which,
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
    input, cache = pasts[0].encoders[0].input, Paths(pasts[0].directory).cache
    try:
        train, test = (
            open_labelled(
                data,
                channels=image_channels(input),
                max_pixels=max_pixels,
                split=split,
                streams=plain_of(input).streams,
            )
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


def diagnoses_of(
    pasts: Sequence[Past], data: str, *, max_pixels: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """A diagnosis of each run, all of the same samples; {} where one cannot be had, and why."""
    found: list[dict[str, Any]] = []
    notes: list[str] = []
    kept = [diagnosis_of(past) for past in pasts]
    same = {(d["data"], d["images"]) for d in kept if d}
    usable = len(same) == 1 and (not data or all(d.get("data") == data for d in kept if d))
    for past, diagnosis in zip(pasts, kept, strict=True):
        if not diagnosis or not usable:
            log.info("diagnosing %s", past.name)
            labels = data or (next(iter(same))[0] if usable and _labelled(kept) else "")
            try:
                made = diagnose(
                    past.directory, which=past.which, labels=labels, max_pixels=max_pixels
                )
                assert not isinstance(made, DiagnosedEach)
                diagnosis = json.loads(json_text(made.to_json()))
            except UsageError as error:
                notes.append(f"{past.name} has no diagnosis: {error}")
                diagnosis = {}
        found.append(diagnosis)
    looked = {(d["data"], d["images"]) for d in found if d}
    if len(looked) > 1:
        said = ", ".join(f"{images} of {name}" for name, images in sorted(looked))
        notes.append(f"Label-free columns look at different {{samples}}: {said}.")
    return found, notes


def _labelled(diagnoses: Sequence[Mapping[str, Any]]) -> bool:
    return any(d.get("groups") for d in diagnoses)


def _verdict(diagnosis: Mapping[str, Any]) -> str:
    """The light of each of the three answers; that a run has not collapsed is but one of them."""
    answers = diagnosis.get("verdict", {}).get("answers", [])
    if len(answers) != len(_ASKED):
        return diagnosis.get("state", {}).get("title", "-")
    lights = [WORDS[answer["light"]] for answer in answers]
    return ", ".join(f"{what}: {light}" for what, light in zip(_ASKED, lights, strict=True))


def table_of(
    pasts: Sequence[Past],
    diagnoses: Sequence[Mapping[str, Any]],
    evaluations: Sequence[Sequence[Mapping[str, Any]]],
    differences: Sequence[str],
    notes: list[str],
    others: Sequence[tuple[Row, dict[str, Tested]]] = (),
) -> Table:
    """Rows and columns of everything that is known of the runs, and of others' encoders."""
    tried = [set(d.get("invariance", {}).get("encoder", {})) for d in diagnoses if d]
    shared = sorted(set[str].intersection(*tried)) if tried else []
    if shared:
        notes.append(f"Change is the mean over: {', '.join(shared)}.")
    beside = untrained_rows(pasts, evaluations)
    rows: list[Row] = []
    images = dict(beside.tested)
    for past, diagnosis, results in zip(pasts, diagnoses, evaluations, strict=True):
        cells = performance(results) | label_free(diagnosis, shared) | cost(past)
        words = past.words | {"verdict": _verdict(diagnosis)}
        page = Paths(past.directory).report
        rows.append(
            Row(
                name=past.name,
                cells=cells,
                words=words,
                untrained=beside.of.get(past.name, ""),
                report=page if page.is_file() else None,
            )
        )
        images[past.name] = tested(results)
    images |= {row.name: marks for row, marks in others}
    flat = [result for results in evaluations for result in results]
    noun = common(past.noun for past in pasts)
    columns: list[Column] = [
        replace(column, says=noun.fill(column.says))
        for column in (*performance_columns(flat), *COLUMNS)
    ]
    title = "1 run" if len(rows) == 1 else f"{len(rows)} runs compared"
    on = sorted({str(result["data"]) for result in flat})
    title += f" on {on[0]}" if len(on) == 1 else ""
    title += f", {date.today():%d %B %Y}"
    return Table(
        title=title,
        columns=columns,
        rows=[*beside.rows, *rows, *(row for row, _ in others)],
        differences=differences,
        notes=[noun.fill(note) for note in notes],
        paired=paired(images),
    )


def write(path: Path, table: Table) -> Path:
    """Write a table in the form of the file's ending."""
    text = {
        ".md": lambda: f"# {table.title}\n\n{markdown(table)}",
        ".json": lambda: json_text(table.to_json()) + "\n",
        ".html": lambda: page(table, at=path.parent),
    }[path.suffix]()
    with atomic(path) as draft:
        draft.write_text(text, encoding="utf-8")
    return path
