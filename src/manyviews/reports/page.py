"""One offline HTML page for a run. It asks the network for nothing."""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from manyviews.core.nouns import Noun
from manyviews.diagnosis.explain import MEASURES
from manyviews.diagnosis.verdict import WORDS
from manyviews.reports.charts import Line, line_chart, series
from manyviews.reports.content import Content, Embedded, Seen, Strip, attempt, of
from manyviews.reports.figures import invariance_bars, neighbours, spectrum
from manyviews.reports.maps import MapKind, place
from manyviews.reports.pictures import data_uri, sheet
from manyviews.reports.samples import alike, groups, lonely
from manyviews.reports.templates import template

TILE = 56
GROUPS = (
    *("#2563eb", "#d97706", "#059669", "#db2777", "#7c3aed", "#0891b2"),
    *("#65a30d", "#dc2626", "#a16207", "#4f46e5", "#0d9488", "#94a3b8"),
)
"""Colours of clusters and folders."""
NOTES = {
    "Health": "Of the batch's own embeddings (encoder) and projections (what the loss sees), "
    "without labels. Compare these within one method, not across methods.",
    "Entropy and reconstruction": "Of the batch's own projections, without labels, in nats. Views "
    "that agree raise the reconstruction; features that spread raise the entropy, and features "
    "that collapse lower it. Their sum bounds from below what one view tells of the other. The "
    "first chart shows the change since the first check: values depend on width and batch.",
    "Entropy": "Of the batch's own features, without labels, in nats. Features that spread raise "
    "it, features that collapse lower it. Values depend on width and batch.",
    "With labels, which training never saw": "Measured beside the training. Level lines: raw "
    "pixels and the untrained encoder on the same labels, where manyviews evaluate has measured "
    "them.",
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
    "rank": ("effective rank of the batch", ("rank_embedding", "rank_projection")),
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
    embedded = {
        name: seen.embedded for name, seen in content.encoders.items() if seen.embedded is not None
    }
    return template("page.html.j2", breakable=_breakable, flags=_flags).render(
        content=content,
        alarms=_untold(content),
        charts=_charts(content),
        notes=NOTES,
        words=WORDS,
        diagnoses={
            name: attempt(of("the diagnosis", name), partial(_diagnosis, seen, content.noun), None)
            for name, seen in content.encoders.items()
        },
        views=[_strip(strip, 160) for strip in content.views],
        insight={k: [_strip(s, 160) for s in v] for k, v in content.insight.items()},
        galleries={
            name: attempt(of("a gallery", name), partial(_gallery, found), [])
            for name, found in embedded.items()
        },
        looked={
            name: attempt(of("outliers and clusters", name), partial(_looked_through, found), {})
            for name, found in embedded.items()
        },
        colours=GROUPS,
        maps={name: _map_if(found, content, of("a map", name)) for name, found in embedded.items()},
    )


def _map_if(embedded: Embedded, content: Content, what: str) -> dict[str, Any] | None:
    """The map; one that was asked for says what is wrong."""
    if content.map == "pca":
        return attempt(what, lambda: _map(embedded, "pca", content.colour), None)
    return _map(embedded, content.map, content.colour)


def _charts(content: Content) -> dict[str, list[Markup]]:
    """Group name -> charts; groups without data are left out."""
    train = [r for r in content.records if r.get("kind") == "train"]
    probe = [r for r in content.records if r.get("kind") == "probe"]
    health = [r for r in content.records if r.get("kind") == "health"] or train
    entropies = "Entropy"
    if any(r.get("reconstruction") is not None for r in health):
        entropies = "Entropy and reconstruction"
    groups: dict[str, Callable[[], list[Markup]]] = {
        "Training": lambda: [
            line_chart([series(train, "loss")], x="step", y="loss"),
            line_chart([series(train, "lr")], x="step", y="learning rate"),
        ],
        "Health": lambda: (
            [
                line_chart(
                    [_called(series(health, k)) for k in _of_each(health, *keys)], x="step", y=label
                )
                for label, keys in HEALTH.values()
            ]
            + _watched(health)
        ),
        entropies: lambda: _entropy_reconstruction(health),
        "With labels, which training never saw": lambda: [
            line_chart(_beside(probe, content, key), x="step", y=f"{key} top-1")
            for key in ("knn", "linear")
        ],
        "Spectrum": lambda: [
            spectrum(seen.spectrum, name) for name, seen in content.encoders.items()
        ],
    }
    drawn = {
        name: [chart for chart in attempt(f"the charts '{name}'", draw, []) if chart]
        for name, draw in groups.items()
    }
    return {name: charts for name, charts in drawn.items() if charts}


def _untold(content: Content) -> list[str]:
    """Alarms that no verdict above them has in its words."""
    verdicts = [seen.verdict for seen in content.encoders.values() if seen.verdict is not None]
    said = [answer.sentence for verdict in verdicts for answer in verdict.answers]
    return [alarm for alarm in content.alarms if not any(alarm in one for one in said)]


def _breakable(text: str) -> Markup:
    """A name that may go on in a new line after what divides it, rather than anywhere."""
    return Markup(re.sub(r"(?<=[/#_.-])(?=\w)", "<wbr>", str(escape(text))))


def _flags(text: str) -> Markup:
    """Words in which a flag stays whole: browsers end a line after its dashes."""
    return Markup(
        re.sub(r"(--[A-Za-z][\w.-]*)", r'<span class="flag">\1</span>', str(escape(text)))
    )


def _called(line: Line) -> Line:
    """A line of health named by what it is of: "rank_embedding/video" is "embedding, video"."""
    key, _, encoder = line.name.partition("/")
    return replace(line, name=", ".join(filter(None, (key.rpartition("_")[2], encoder))))


def _of_each(records: Sequence[Mapping[str, Any]], *keys: str) -> list[str]:
    """The keys that a number was logged by: with an encoder's name where there are several."""
    logged = {logged for record in records for logged in record}
    return [k for key in keys for k in sorted(logged) if k == key or k.startswith(f"{key}/")]


def _beside(probe: Sequence[Mapping[str, Any]], content: Content, key: str) -> list[Line]:
    """What was measured while training, and the levels that it is to be seen against."""
    lines = [series(probe, k) for k in _of_each(probe, key)]
    ends = [x for line in lines for x in line.x]
    levels = content.levels.get(key, {}) if ends else {}
    return lines + [
        Line(name, [min(ends), max(ends)], [value] * 2) for name, value in levels.items()
    ]


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


def _diagnosis(seen: Seen, noun: Noun) -> dict[str, Any] | None:
    """What the page shows of diagnosis.json, less what its verdict has said."""
    found = seen.diagnosis
    if not found.get("spaces"):
        return None
    spaces: Mapping[str, Mapping[str, float]] = found["spaces"]
    names = list(dict.fromkeys(name for numbers in spaces.values() for name in numbers))
    rows = [
        (MEASURES[name].of(noun), [_figure(numbers.get(name)) for numbers in spaces.values()])
        for name in names
        if name in MEASURES
    ]
    said = {answer.sentence for answer in seen.verdict.answers} if seen.verdict else set[str]()
    sentence = found["state"]["sentence"]
    of = str(found.get("encoder", "encoder"))  # 0.1.0 did not write it
    usage, groups = found.get("prototypes") or {}, found.get("groups") or {}
    rows += [
        (MEASURES[name].of(noun), [_figure(usage[name]), *[""] * (len(spaces) - 1)])
        for name in ("perplexity", "usage_entropy", "target_entropy", "information")
        if name in usage
    ]
    return {
        "state": "" if sentence in said else sentence,
        "best": found.get("best"),
        "encoder": of,
        "images": found["images"],
        "data": found["data"],
        "spaces": list(spaces),
        "rows": rows,
        "groups": groups,
        "bars": invariance_bars(found.get("invariance", {}), of=of, noun=noun),
    }


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}" if abs(value) >= 100 else f"{value:.3f}"


def _strip(strip: Strip, side: int) -> list[tuple[str, str, str]]:
    """Each picture, its caption, and what is said to whoever cannot see it."""
    pairs = zip(strip.pictures, strip.captions, strict=True)
    named = f"{_short(strip.name)}, " if strip.name else ""
    return [(data_uri(picture, side=side), text, f"{named}{text}") for picture, text in pairs]


def _short(name: str) -> str:
    """A file with its folder: what tells it from others of its name."""
    return "/".join(Path(name).parts[-2:])


def _looked_through(embedded: Embedded) -> dict[str, Any]:
    """Outliers, near-duplicates and clusters, as pictures with captions and names."""

    def shown(row: int, caption: str) -> tuple[str, str, str]:
        return data_uri(embedded.images[row], side=96), caption, _short(embedded.names[row])

    found, _ = groups(embedded.features)
    return {
        "outliers": [shown(row, f"{cosine:.2f}") for row, cosine in lonely(embedded.features)],
        "alike": [
            [shown(one, f"{cosine:.3f}"), shown(other, "")]
            for one, other, cosine in alike(embedded.features)
        ],
        "clusters": [(group.size, [shown(row, "") for row in group.typical]) for group in found],
    }


def _gallery(embedded: Embedded) -> list[list[tuple[str, str, str, str]]]:
    """Rows of (picture, caption, kind, name): a query, its nearest neighbours, the farthest."""
    rows: list[list[tuple[str, str, str, str]]] = []
    for found in neighbours(embedded.features):
        shown = [(found.query, "query", "query")]
        shown += [(i, f"{cosine:.2f}", "near") for i, cosine in found.nearest]
        shown += [(i, f"{cosine:.2f}", "far") for i, cosine in found.farthest]
        rows.append(
            [
                (data_uri(embedded.images[i], side=96), text, kind, _short(embedded.names[i]))
                for i, text, kind in shown
            ]
        )
    return rows


def _by_value(values: Sequence[str]) -> dict[str, Any]:
    """The commonest values, a colour each, and one colour for all others."""
    common = [value for value, _ in Counter(values).most_common()]
    if len(common) > len(GROUPS):
        common = common[: len(GROUPS) - 1]
    last = len(common)
    names = [value.replace("\0", " ") or "unknown" for value in common]
    place = {value: i for i, value in enumerate(common)}
    of = [place.get(value, last) for value in values]
    return {"of": of, "names": [*names, "others"] if last in of else names}


def _map(embedded: Embedded, how: MapKind, colour: str) -> dict[str, Any]:
    """Points in the unit square, and a sprite sheet to show on hover."""
    points = place(embedded.features, how)
    low, high = points.min(axis=0), points.max(axis=0)
    placed = (points - low) / (high - low).clip(1e-12)
    columns = 40
    names = [Path(name).name for name in embedded.names]
    found, of = groups(embedded.features)
    numbers = [f"{i + 1}" for i in range(len(found))]
    # by folder the page colours by itself, from the names of the files
    colourings = {"cluster": {"of": of.tolist(), "names": numbers}} if found else {}
    if embedded.values:
        colourings = {colour: _by_value(embedded.values), **colourings}
    data = {
        "colours": GROUPS,
        "colourings": colourings,
        "chosen": colour if embedded.values else "",
        "points": placed.astype(float).round(4).tolist(),
        "names": names,
        "files": [_short(name) for name in embedded.names],
        "tile": TILE,
        "columns": columns,
    }
    # "<" must not close the script element early, whatever a file is called.
    safe = json.dumps(data).replace("<", "\\u003c")
    tiles = sheet(embedded.images, side=TILE, columns=columns)
    return {"data": Markup(safe), "sheet": tiles, "note": MAPS[how], "count": len(names)}
