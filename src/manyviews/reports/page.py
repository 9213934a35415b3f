"""One offline HTML page for a run. It asks the network for nothing."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from manyviews.diagnosis.explain import MEASURES
from manyviews.reports.charts import Line, line_chart, series
from manyviews.reports.content import Content, Embedded, Strip, attempt
from manyviews.reports.figures import invariance_bars, neighbours, spectrum
from manyviews.reports.maps import MapKind, place
from manyviews.reports.pictures import data_uri, sheet

TILE = 56
NOTES = {
    "Health": "Of the batch's own embeddings (encoder) and projections (what the loss sees), "
    "without labels. Compare these within one method, not across methods.",
    "Entropy and reconstruction": "Of the batch's own projections, without labels, in nats. Views "
    "that agree raise the reconstruction; features that spread raise the entropy, and features "
    "that collapse lower it. Their sum bounds from below what one view tells of the other. The "
    "first chart shows the change since the first check: values depend on width and batch.",
    "Spectrum": "Singular values of the centred features, largest first. A cliff means that the "
    "directions after it are not used.",
}
MAPS = {
    "pca": "The first two principal components of the features.",
    "umap": "UMAP of the features, after PCA to 50 components. It keeps neighbours: distances "
    "between clusters, their sizes and their densities mean little.",
    "pacmap": "PaCMAP of the features, after PCA to 50 components. It keeps neighbours: distances "
    "between clusters, their sizes and their densities mean little.",
}

HEALTH = {
    "rank": ("effective rank", ("rank_embedding", "rank_projection")),
    "spread": ("standard deviation, 1 = isotropic", ("std_embedding", "std_projection")),
    "consistency": ("views found in the batch, 1 = all", ("consistency",)),
    "alignment": ("alignment, 0 = views agree", ("alignment",)),
    "uniformity": ("uniformity, lower = more spread", ("uniformity",)),
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
        notes=NOTES,
        diagnosis=attempt("the diagnosis", lambda: _diagnosis(content.diagnosis), None),
        views=[_strip(strip, 160) for strip in content.views],
        insight={k: [_strip(s, 160) for s in v] for k, v in content.insight.items()},
        gallery=attempt("its gallery", lambda: _gallery(embedded), []) if embedded else [],
        map=_map_if(embedded, content.map),
    )


def _map_if(embedded: Embedded | None, how: MapKind) -> dict[str, Any] | None:
    """The map; one that was asked for says what is wrong."""
    if embedded is None:
        return None
    if how == "pca":
        return attempt("its map", lambda: _map(embedded, how), None)
    return _map(embedded, how)


def _charts(content: Content) -> dict[str, list[Markup]]:
    """Group name -> charts; groups without data are left out."""
    train = [r for r in content.records if r.get("kind") == "train"]
    probe = [r for r in content.records if r.get("kind") == "probe"]
    health = [r for r in content.records if r.get("kind") == "health"] or train
    groups: dict[str, Callable[[], list[Markup]]] = {
        "Training": lambda: [
            line_chart([series(train, "loss")], x="step", y="loss"),
            line_chart([series(train, "lr")], x="step", y="learning rate"),
        ],
        "Health": lambda: (
            [
                line_chart([series(health, key) for key in keys], x="step", y=label)
                for label, keys in HEALTH.values()
            ]
            + _watched(health)
        ),
        "Entropy and reconstruction": lambda: _entropy_reconstruction(health),
        "With labels, which training never saw": lambda: [
            line_chart([series(probe, key)], x="step", y=f"{key} top-1")
            for key in ("knn", "linear")
        ],
        "Spectrum": lambda: [spectrum(content.spectrum)],
    }
    drawn = {
        name: [chart for chart in attempt(f"the charts '{name}'", draw, []) if chart]
        for name, draw in groups.items()
    }
    return {name: charts for name, charts in drawn.items() if charts}


def _watched(records: Sequence[Mapping[str, Any]]) -> list[Markup]:
    """What the method itself watches, a chart each: entropies, prediction spread."""
    names = sorted({k for r in records for k in r if k.startswith("watch/")})
    labels = {name: name.removeprefix("watch/").replace("_", " ") for name in names}
    return [line_chart([series(records, k)], x="step", y=labels[k]) for k in names]


def _entropy_reconstruction(health: Sequence[Mapping[str, Any]]) -> list[Markup]:
    """As in the figures of Rodriguez-Galvez et al. 2023: both over training, and their sum."""
    keys = ("entropy", "reconstruction")
    having = [r for r in health if all(r.get(key) is not None for key in keys)]
    steps = [float(r["step"]) for r in having]
    curves = {key: [float(r[key]) for r in having] for key in keys}
    both = [a + b for a, b in zip(*curves.values(), strict=True)]
    changes = [Line(k, steps, [v - values[0] for v in values]) for k, values in curves.items()]
    return [
        line_chart(changes, x="step", y="change since the first check"),
        line_chart([Line("sum", steps, both)], x="step", y="bound: entropy + reconstruction"),
        line_chart([series(health, "entropy")], x="step", y="entropy"),
        line_chart([series(health, "reconstruction")], x="step", y="reconstruction"),
    ]


def _diagnosis(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the page shows of diagnosis.json."""
    if not found.get("spaces"):
        return None
    spaces: Mapping[str, Mapping[str, float]] = found["spaces"]
    names = list(dict.fromkeys(name for numbers in spaces.values() for name in numbers))
    rows = [
        (MEASURES[name], [_figure(numbers.get(name)) for numbers in spaces.values()])
        for name in names
        if name in MEASURES
    ]
    usage, groups = found.get("prototypes") or {}, found.get("groups") or {}
    rows += [
        (MEASURES[name], [_figure(usage[name]), *[""] * (len(spaces) - 1)])
        for name in ("perplexity", "usage_entropy", "target_entropy", "information")
        if name in usage
    ]
    return {
        "verdict": found["verdict"]["sentence"],
        "trend": (found.get("trend") or {}).get("sentence", ""),
        "best": found.get("best"),
        "images": found["images"],
        "data": found["data"],
        "spaces": list(spaces),
        "rows": rows,
        "groups": groups,
        "bars": invariance_bars(found.get("invariance", {})),
    }


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}" if abs(value) >= 100 else f"{value:.3f}"


def _strip(strip: Strip, side: int) -> list[tuple[str, str]]:
    pairs = zip(strip.pictures, strip.captions, strict=True)
    return [(data_uri(picture, side=side), caption) for picture, caption in pairs]


def _gallery(embedded: Embedded) -> list[list[tuple[str, str, str]]]:
    """Rows of (picture, caption, kind): a query, its nearest neighbours, the farthest images."""
    rows: list[list[tuple[str, str, str]]] = []
    for found in neighbours(embedded.features):
        shown = [(found.query, "query", "query")]
        shown += [(i, f"{cosine:.2f}", "near") for i, cosine in found.nearest]
        shown += [(i, f"{cosine:.2f}", "far") for i, cosine in found.farthest]
        rows.append(
            [(data_uri(embedded.images[i], side=96), text, kind) for i, text, kind in shown]
        )
    return rows


def _map(embedded: Embedded, how: MapKind) -> dict[str, Any]:
    """Points in the unit square, and a sprite sheet to show on hover."""
    points = place(embedded.features, how)
    low, high = points.min(axis=0), points.max(axis=0)
    placed = (points - low) / (high - low).clip(1e-12)
    columns = 40
    names = [Path(name).name for name in embedded.names]
    data = {
        "points": placed.astype(float).round(4).tolist(),
        "names": names,
        "tile": TILE,
        "columns": columns,
    }
    # "<" must not close the script element early, whatever a file is called.
    safe = json.dumps(data).replace("<", "\\u003c")
    tiles = sheet(embedded.images, side=TILE, columns=columns)
    return {"data": Markup(safe), "sheet": tiles, "note": MAPS[how]}
