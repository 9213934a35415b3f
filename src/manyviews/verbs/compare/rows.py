"""What a run cost and what was measured of it become the cells of a comparison's row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from manyviews.core.passes import passes
from manyviews.diagnosis.explain import MEASURES
from manyviews.evaluation.intervals import apart
from manyviews.reports.table import Cell, Column, Row
from manyviews.runs.past import Past

PERFORMANCE, LABEL_FREE = "Performance, with labels", "Invariance and grouping"
INFORMATION, COST = "Information", "Cost"

TITLES = {"knn": "kNN", "linear": "linear", "lowshot": "low-shot"}
UNTRAINED = "untrained encoder"
"""How an evaluation calls it."""
EXTRA = {"lowshot": ("accuracy at 1 %",)}
"""Measures that are shown beside a protocol's headline."""


def cost(past: Past) -> dict[str, Cell]:
    """What the training took."""
    batch = past.settings.data.batch_size
    found = {
        "steps": Cell(past.steps),
        "passes": Cell(passes(past.steps, batch=batch, samples=past.images)),
        "minutes": Cell(past.seconds / 60),
    }
    if past.seconds > 0:
        found["images_per_second"] = Cell(past.steps * batch / past.seconds)
    if past.peak_memory is not None:
        found["peak_memory"] = Cell(past.peak_memory / 2**20)
    return found


def label_free(diagnosis: Mapping[str, Any], augmentations: Sequence[str]) -> dict[str, Cell]:
    """What `diagnose` found, of the encoder and of what the loss sees.

    Args:
        diagnosis: as `diagnosis.result.Diagnosed.to_json`.
        augmentations: over which invariance is averaged: those that all rows have.
    """
    spaces: Mapping[str, Mapping[str, float]] = diagnosis.get("spaces", {})
    encoder = spaces.get("encoder", {})
    found: dict[str, Cell] = {}
    for space in ("encoder", "projector"):
        bars = diagnosis.get("invariance", {}).get(space, {})
        chosen = [bars[name] for name in augmentations if name in bars]
        if chosen:
            value, low, high = (
                sum(bar[end] for bar in chosen) / len(chosen) for end in ("change", "low", "high")
            )
            found[f"change_{space}"] = Cell(value, low, high)
    if "alignment" in encoder and encoder.get("cosine", 1.0) < 1:
        found["views_apart"] = Cell(encoder["alignment"] / (2 * (1 - encoder["cosine"])))
    for key in ("cluster_stability", "cluster_consistency", "effective_rank", "er_bound"):
        if key in encoder:
            found[key] = Cell(encoder[key])
    for key in ("entropy_joe", "reconstruction"):
        if key in spaces.get("projector", {}):
            found[key] = Cell(spaces["projector"][key])
    for key in ("nmi", "purity"):
        if key in diagnosis.get("groups", {}):
            found[key] = Cell(diagnosis["groups"][key])
    return found


def performance(results: Sequence[Mapping[str, Any]]) -> dict[str, Cell]:
    """Key of a column -> its cell, of evaluations."""
    found: dict[str, Cell] = {}
    for result in results:
        for measure, estimate in _measures(result).items():
            key = f"{result['protocol']}|{result['data']}|{measure}"
            found[key] = Cell(estimate["value"], estimate["low"], estimate["high"])
    return found


def performance_columns(results: Sequence[Mapping[str, Any]]) -> list[Column]:
    """A column for each protocol, data and measure."""
    found: dict[str, Column] = {}
    many = len({r["data"] for r in results}) > 1
    for result in sorted(results, key=_order):
        for measure in _measures(result):
            key = f"{result['protocol']}|{result['data']}|{measure}"
            title = TITLES.get(str(result["protocol"]), str(result["protocol"]))
            short = measure.removeprefix("accuracy").removeprefix(" at ")
            title = f"{title}, {short}" if short else title
            found[key] = Column(
                key=key,
                title=f"{title}, {result['data']}" if many else title,
                group=PERFORMANCE,
                says=f"Protocol {result['protocol']} on {result['data']}: {measure}, tested on "
                f"{result['n']:,} {{samples}}; the training part has {result['train']:,}.",
                better="high",
            )
    return list(found.values())


@dataclass(frozen=True)
class Tested:
    """Which test images are classified rightly, for a test image by image.

    Attributes:
        content: hash of the labelled data; "" where it is unknown.
        right: as `evaluation.result.Result.right` has it, of one measure.
    """

    content: str
    right: tuple[str, ...]

    def apart(self, other: "Tested") -> bool | None:
        """Whether the two differ; None where they were not tested on the same images."""
        shapes = [[len(text) for text in one.right] for one in (self, other)]
        strange = self.content and other.content and self.content != other.content
        return None if strange or shapes[0] != shapes[1] else apart(self.right, other.right)


def tested(results: Sequence[Mapping[str, Any]]) -> dict[str, Tested]:
    """Key of a column -> the test images of its cell, where they were noted."""
    return {
        f"{result['protocol']}|{result['data']}|{measure}": Tested(
            str(result.get("content", "")), tuple(map(str, result["right"][measure]))
        )
        for result in results
        for measure in _measures(result)
        if result.get("right", {}).get(measure)
    }


def paired(rows: Mapping[str, Mapping[str, Tested]]) -> dict[str, dict[frozenset[str], bool]]:
    """Key of a column -> two rows' names -> whether the test image by image tells them apart."""
    found: dict[str, dict[frozenset[str], bool]] = {}
    for (one, mine), (other, theirs) in combinations(rows.items(), 2):
        for key in mine.keys() & theirs.keys():
            told = mine[key].apart(theirs[key])
            if told is not None:
                found.setdefault(key, {})[frozenset((one, other))] = told
    return found


@dataclass(frozen=True)
class Untrained:
    """What no training has touched, beside which runs were evaluated.

    Attributes:
        rows: equal ones once.
        tested: name of a row -> its test images.
        of: name of a run -> the row of the same encoder untrained.
    """

    rows: list[Row]
    tested: dict[str, dict[str, Tested]]
    of: dict[str, str]


def untrained_rows(
    pasts: Sequence[Past], evaluations: Sequence[Sequence[Mapping[str, Any]]]
) -> Untrained:
    """Rows of raw pixels and of encoders as they begin."""
    rows: dict[str, dict[str, Cell]] = {}
    images: dict[str, dict[str, Tested]] = {}
    of: dict[str, str] = {}
    for past, results in zip(pasts, evaluations, strict=True):
        own: dict[str, list[dict[str, Any]]] = {}
        for result in results:
            for name, beside in result.get("beside", {}).items():
                marks = {"data": result["data"], "content": result.get("content", "")}
                own.setdefault(name, []).append(dict(beside) | marks)
        for name, found in own.items():
            kind = " + ".join(encoder.name for encoder in past.encoders)
            label = f"untrained {kind}" if name == UNTRAINED else name
            known, cells = rows.get(label, {}), performance(found)
            if any(known.get(key, cell) != cell for key, cell in cells.items()):
                label = f"{label}, as {past.name} sees {past.noun.many}"
            rows.setdefault(label, {}).update(cells)
            images.setdefault(label, {}).update(tested(found))
            if name == UNTRAINED:
                of[past.name] = label
    for past in pasts:  # baselines are measured once for each way of seeing images
        same = [p.name for p in pasts if p.name in of and p.sees == past.sees]
        if same:
            of.setdefault(past.name, of[same[0]])
    order = sorted(rows, key=lambda name: name.startswith("untrained"))
    made = [Row(name=name, cells=rows[name], trained=False) for name in order]
    return Untrained(made, images, of)


def _order(result: Mapping[str, Any]) -> tuple[str, int, str]:
    known = list(TITLES)
    name = str(result["protocol"])
    return str(result["data"]), known.index(name) if name in known else len(known), name


def _measures(result: Mapping[str, Any]) -> dict[str, Mapping[str, float]]:
    names = [result["metric"], *EXTRA.get(result["protocol"], ())]
    return {n: result["measures"][n] for n in dict.fromkeys(names) if n in result["measures"]}


def _words(key: str, more: str = "") -> str:
    """Of a measure; `{sample}` and `{samples}` are filled in by `beside.table_of`."""
    measure = MEASURES[key]
    return f"{measure.says} {measure.cannot} Unit: {measure.unit}. {more}".strip()


COLUMNS = (
    Column(
        key="change_encoder",
        title="change, trained encoder",
        group=LABEL_FREE,
        says="Mean over the single augmentations of how far each moves the trained encoder's "
        "features, over the mean distance of two {samples}: 0 is invariant. Whether that is wanted "
        "depends on the task. The interval is the mean of theirs, which is at least as wide as its "
        "own.",
    ),
    Column(
        key="change_projector",
        title="change, projector",
        group=LABEL_FREE,
        says="The same of the features that the loss sees.",
    ),
    Column(
        key="views_apart",
        title="views apart",
        group=LABEL_FREE,
        says="Alignment over the mean squared distance of two {samples}, of the encoder: how far "
        "apart two training views of one {sample} are. 0 is invariant, 1 as far as another.",
    ),
    Column(
        key="cluster_stability",
        title="cluster stability",
        group=LABEL_FREE,
        says=_words("cluster_stability"),
    ),
    Column(
        key="cluster_consistency",
        title="cluster consistency",
        group=LABEL_FREE,
        says=_words("cluster_consistency"),
    ),
    Column(
        key="nmi",
        title="NMI of clusters",
        group=LABEL_FREE,
        says="k-means clusters against the labels. " + _words("nmi"),
    ),
    Column(
        key="purity",
        title="purity of clusters",
        group=LABEL_FREE,
        says="Share of {samples} whose label is the commonest in their k-means cluster. It rises "
        "with the number of clusters.",
    ),
    Column(
        key="entropy_joe",
        title="entropy",
        group=INFORMATION,
        says="Of the features that the loss sees. " + _words("entropy_joe"),
        digits=1,
    ),
    Column(
        key="reconstruction",
        title="reconstruction",
        group=INFORMATION,
        says="Of the features that the loss sees. " + _words("reconstruction"),
        digits=1,
    ),
    Column(
        key="er_bound",
        title="ER bound, encoder",
        group=INFORMATION,
        says="Of the encoder's features. " + _words("er_bound"),
        digits=2,
    ),
    Column(
        key="effective_rank",
        title="effective rank",
        group=INFORMATION,
        says="Of the encoder's features. " + _words("effective_rank"),
        digits=0,
    ),
    Column(
        key="minutes",
        title="minutes",
        group=COST,
        says="Of training, without evaluation.",
        digits=1,
    ),
    Column(key="steps", title="steps", group=COST, says="Optimiser steps done.", digits=0),
    Column(
        key="passes",
        title="passes",
        group=COST,
        says="How often each {sample} was seen: steps x batch / {samples}.",
        digits=1,
    ),
    Column(
        key="images_per_second",
        title="samples/s",
        group=COST,
        says="Samples a second of training; all views of one {sample} count as one.",
        digits=0,
    ),
    Column(
        key="peak_memory",
        title="memory, MiB",
        group=COST,
        says="Largest memory of the first training process: allocated on its GPU where it had "
        "one, else resident. Its data workers are not in it.",
        digits=0,
    ),
)
"""All columns but those of protocols, which come first."""
