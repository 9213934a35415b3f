"""The report's figures as functions, for notebooks and other pages.

Those that draw return SVG or HTML as a string, which `IPython.display.HTML` shows.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from manyviews.core.sample import Bytes
from manyviews.diagnosis.invariance import Bar
from manyviews.reports.charts import Interval, Line, bar_chart, line_chart
from manyviews.reports.maps import Vectors, place, unit
from manyviews.reports.pictures import data_uri, heat, principal_colours

__all__ = [
    "Neighbours",
    "attention_heads",
    "embedding_map",
    "gallery",
    "invariance_bars",
    "neighbours",
    "patch_colours",
    "spectrum",
]

embedding_map = place
patch_colours = principal_colours


@dataclass(frozen=True)
class Neighbours:
    """One image and those that are nearest to it and farthest from it.

    Attributes:
        query: its row.
        nearest: (row, cosine of centred features), nearest first.
        farthest: likewise, farthest first.
    """

    query: int
    nearest: Sequence[tuple[int, float]]
    farthest: Sequence[tuple[int, float]]


def neighbours(
    features: Vectors, *, queries: int = 8, nearest: int = 7, farthest: int = 2
) -> list[Neighbours]:
    """Nearest and farthest rows of some rows, by the cosine of centred features.

    Args:
        features: [N, D].
        queries: rows asked about, evenly spread.
        nearest: rows for each, itself not counted.
        farthest: likewise; none is shown on both sides.
    """
    rows = unit(np.asarray(features, dtype=np.float32) - np.mean(features, axis=0))
    found: list[Neighbours] = []
    for query in np.linspace(0, len(rows) - 1, min(queries, len(rows))).astype(int).tolist():
        cosine = rows @ rows[query]
        order = [int(i) for i in np.argsort(-cosine, kind="stable") if i != query]
        near = order[:nearest]
        far = order[len(near) :][::-1][:farthest]
        found.append(
            Neighbours(
                query,
                [(i, float(cosine[i])) for i in near],
                [(i, float(cosine[i])) for i in far],
            )
        )
    return found


def gallery(features: Vectors, images: Sequence[Bytes], **counts: int) -> Markup:
    """Rows of pictures: an image, its nearest neighbours, and after a gap the farthest images.

    Args:
        features: [N, D].
        images: N pictures [h, w, C] uint8.
        **counts: of `neighbours`.
    """
    figure = Markup(
        '<figure style="margin:0 {gap}px 0 0;text-align:center"><img width="92" src="{uri}" '
        'alt=""><figcaption>{caption}</figcaption></figure>'
    )
    strips: list[Markup] = []
    for row in neighbours(features, **counts):
        shown = [(row.query, "query", 8)]
        shown += [(i, f"{cosine:.2f}", 8) for i, cosine in row.nearest]
        shown[-1] = (*shown[-1][:2], 28)
        shown += [(i, f"{cosine:.2f}", 8) for i, cosine in row.farthest]
        figures = [
            figure.format(gap=gap, uri=data_uri(images[i], side=96), caption=caption)
            for i, caption, gap in shown
        ]
        strips.append(Markup('<div style="display:flex">{}</div>').format(Markup("").join(figures)))
    return Markup("").join(strips)


def attention_heads(image: Bytes, weights: NDArray[Any]) -> list[Bytes]:
    """An image once for each head, bright where the class token looks.

    Args:
        image: [H, W, C] uint8.
        weights: [heads, h, w] or [heads, h * w] of a square grid, as `encoders.vit.attention`.
    """
    if weights.ndim == 2:
        side = math.isqrt(weights.shape[1])
        weights = weights.reshape(len(weights), side, side)
    return [heat(image, head) for head in weights]


def invariance_bars(invariance: Mapping[str, Mapping[str, Bar | Mapping[str, float]]]) -> Markup:
    """How far each augmentation moves features, with 95 % intervals, as SVG.

    Args:
        invariance: space -> augmentation -> bar: `diagnosis.result.Diagnosed.invariance`,
            or the same from diagnosis.json.
    """
    drawn: dict[str, dict[str, Interval]] = {}
    for space, bars in invariance.items():
        for name, bar in bars.items():
            numbers = vars(bar) if isinstance(bar, Bar) else bar
            ends = Interval(numbers["change"], numbers["low"], numbers["high"])
            drawn.setdefault(space, {})[name] = ends
    return bar_chart(drawn, x="change: 0 none, 1 as far as another image", mark=1.0)


def spectrum(values: Sequence[float]) -> Markup:
    """Singular values, largest first, over a logarithmic axis, as SVG.

    Args:
        values: as `diagnosis.spectrum.singular_values`.
    """
    line = Line("singular value", list(range(1, len(values) + 1)), list(values))
    return line_chart([line], x="direction", y="singular value", log=True)
