"""One offline HTML page for a run. It asks the network for nothing."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from manyviews.reports.charts import Line, line_chart, series
from manyviews.reports.content import Content, Embedded, Strip
from manyviews.reports.pictures import data_uri, sheet

TILE = 56
NEIGHBOURS = 8
QUERIES = 8

HEALTH = {
    "rank": ("effective rank", ("rank_embedding", "rank_projection")),
    "spread": ("standard deviation, 1 = isotropic", ("std_embedding", "std_projection")),
    "consistency": ("views found in the batch, 1 = all", ("consistency",)),
    "alignment": ("alignment, 0 = views agree", ("alignment",)),
    "uniformity": ("uniformity, lower = more spread", ("uniformity",)),
    "entropy": ("entropy in nats, higher = more spread", ("entropy",)),
    "reconstruction": ("reconstruction in nats, higher = views agree", ("reconstruction",)),
}
CURVES = {"loss", "lr", "weight_decay", "grad_norm"}
CLOCKS = {"step", "epoch", "seconds", "images_per_second", "data_wait", "progress"}


def render(content: Content) -> str:
    """The page as HTML.

    Every string from the data (file names, reasons) is escaped; pictures are inlined.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    embedded = content.embedded
    return environment.get_template("page.html.j2").render(
        content=content,
        charts=_charts(content),
        views=[_strip(strip, 160) for strip in content.views],
        insight={k: [_strip(s, 160) for s in v] for k, v in content.insight.items()},
        gallery=_gallery(embedded) if embedded else [],
        map=_map(embedded) if embedded else None,
    )


def _charts(content: Content) -> dict[str, list[Markup]]:
    """Group name -> charts; groups without data are left out."""
    train = [r for r in content.records if r.get("kind") == "train"]
    probe = [r for r in content.records if r.get("kind") == "probe"]
    health = [r for r in content.records if r.get("kind") == "health"] or train
    groups = {
        "Training": [
            line_chart([series(train, "loss")], x="step", y="loss"),
            line_chart([series(train, "lr")], x="step", y="learning rate"),
        ],
        "Health": [
            line_chart([series(health, key) for key in keys], x="step", y=label)
            for label, keys in HEALTH.values()
        ]
        + _watched(health),
        "With labels, which training never saw": [
            line_chart([series(probe, key)], x="step", y=f"{key} top-1")
            for key in ("knn", "linear")
        ],
        "Spectrum": [_spectrum(content.spectrum)],
    }
    drawn = {name: [c for c in charts if c] for name, charts in groups.items()}
    return {name: charts for name, charts in drawn.items() if charts}


def _watched(records: Sequence[Mapping[str, Any]]) -> list[Markup]:
    """What the method itself watches, a chart each: entropies, prediction spread."""
    names = sorted({k for r in records for k in r if k.startswith("watch/")})
    labels = {name: name.removeprefix("watch/").replace("_", " ") for name in names}
    return [line_chart([series(records, k)], x="step", y=labels[k]) for k in names]


def _spectrum(values: Sequence[float]) -> Markup:
    line = Line("singular value", list(range(1, len(values) + 1)), list(values))
    return line_chart([line], x="direction", y="singular value", log=True)


def _strip(strip: Strip, side: int) -> list[tuple[str, str]]:
    pairs = zip(strip.pictures, strip.captions, strict=True)
    return [(data_uri(picture, side=side), caption) for picture, caption in pairs]


def _gallery(embedded: Embedded) -> list[list[tuple[str, str]]]:
    """Rows of a query and its nearest neighbours by cosine, with the cosine below each."""
    unit = _unit(embedded.features - embedded.features.mean(axis=0))
    queries = np.linspace(0, len(unit) - 1, min(QUERIES, len(unit))).astype(int)
    rows: list[list[tuple[str, str]]] = []
    for query in queries:
        cosine = unit @ unit[query]
        cosine[query] = -np.inf
        best = np.argsort(-cosine)[: min(NEIGHBOURS, len(unit) - 1)]
        row = [(data_uri(embedded.images[query], side=96), "query")]
        rows.append(
            row + [(data_uri(embedded.images[i], side=96), f"{cosine[i]:.2f}") for i in best]
        )
    return rows


def _map(embedded: Embedded) -> dict[str, Any]:
    """The first two principal components, and a sprite sheet to show on hover."""
    unit = _unit(embedded.features - embedded.features.mean(axis=0))
    centred = unit - unit.mean(axis=0)
    _, basis = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
    points = centred @ basis[:, [-1, -2]]
    low, high = points.min(axis=0), points.max(axis=0)
    placed = (points - low) / np.maximum(high - low, 1e-12)
    columns = 40
    names = [Path(name).name for name in embedded.names]
    data = {"points": placed.round(4).tolist(), "names": names, "tile": TILE, "columns": columns}
    # "<" must not close the script element early, whatever a file is called.
    safe = json.dumps(data).replace("<", "\\u003c")
    return {"data": Markup(safe), "sheet": sheet(embedded.images, side=TILE, columns=columns)}


def _unit(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
