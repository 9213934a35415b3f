"""What a run cost and what was measured of it become the cells of a comparison's row."""

from collections.abc import Mapping, Sequence
from typing import Any

from manyviews.core.settings import parts
from manyviews.diagnosis.explain import MEASURES
from manyviews.reports.table import Cell, Column, Row
from manyviews.runs.past import Past

PERFORMANCE, LABEL_FREE = "Performance, with labels", "Invariance and grouping"
INFORMATION, COST = "Information", "Cost"

TITLES = {"knn": "kNN", "linear": "linear", "lowshot": "low-shot"}
EXTRA = {"lowshot": ("accuracy at 1 %",)}
"""Measures that are shown beside a protocol's headline."""


def cost(past: Past) -> dict[str, Cell]:
    """What the training took."""
    batch, data = past.settings.data.batch_size, max(1, past.images)
    found = {
        "steps": Cell(past.steps),
        "passes": Cell(past.steps * batch / data),
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
                f"{result['n']:,} images; the training part has {result['train']:,}.",
                better="high",
            )
    return list(found.values())


def untrained_rows(
    pasts: Sequence[Past], evaluations: Sequence[Sequence[Mapping[str, Any]]]
) -> list[Row]:
    """What no training has touched, beside which runs were evaluated; equal rows once."""
    rows: dict[str, dict[str, Cell]] = {}
    for past, results in zip(pasts, evaluations, strict=True):
        own: dict[str, dict[str, Cell]] = {}
        for result in results:
            for name, beside in result.get("beside", {}).items():
                cells = performance([dict(beside) | {"data": result["data"]}])
                kind = " + ".join(e.name for e in parts(past.settings.encoders).values())
                label = f"untrained {kind}" if name == "untrained encoder" else name
                own.setdefault(label, {}).update(cells)
        for label, cells in own.items():
            known = rows.get(label, {})
            if any(known.get(key, cell) != cell for key, cell in cells.items()):
                label = f"{label}, as {past.name} sees images"
            rows.setdefault(label, {}).update(cells)
    order = sorted(rows, key=lambda name: name.startswith("untrained"))
    return [Row(name=name, cells=rows[name], trained=False) for name in order]


def _order(result: Mapping[str, Any]) -> tuple[str, int, str]:
    known = list(TITLES)
    name = str(result["protocol"])
    return str(result["data"]), known.index(name) if name in known else len(known), name


def _measures(result: Mapping[str, Any]) -> dict[str, Mapping[str, float]]:
    names = [result["metric"], *EXTRA.get(result["protocol"], ())]
    return {n: result["measures"][n] for n in dict.fromkeys(names) if n in result["measures"]}


def _words(key: str, more: str = "") -> str:
    measure = MEASURES[key]
    return f"{measure.says} {measure.cannot} Unit: {measure.unit}. {more}".strip()


COLUMNS = (
    Column(
        key="change_encoder",
        title="change, encoder",
        group=LABEL_FREE,
        says="Mean over the single augmentations of how far each moves the encoder's features, "
        "over the mean distance of two images: 0 is invariant. Whether that is wanted depends on "
        "the task. The interval is the mean of theirs, which is at least as wide as its own.",
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
        says="Alignment over the mean squared distance of two images, of the encoder: how far "
        "apart two training views of an image are. 0 is invariant, 1 as far as another image.",
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
        says="Share of images whose label is the commonest in their k-means cluster. It rises "
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
        says="How often each image was seen: steps x batch / images.",
        digits=1,
    ),
    Column(
        key="images_per_second",
        title="images/s",
        group=COST,
        says="Images a second of training; all views of an image count as one.",
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
