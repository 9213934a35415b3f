"""The report's figures as functions, for notebooks and other pages.

Those that draw return SVG or HTML as a string that a notebook shows. Features are arrays or
tensors; images are arrays, tensors or Pillow images.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from manyviews.core.nouns import SAMPLE, Noun
from manyviews.core.sample import Bytes
from manyviews.diagnosis.invariance import Bar
from manyviews.reports.charts import Interval, Line, bar_chart, line_chart
from manyviews.reports.maps import MapKind, place, unit
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


class Figure(Markup):
    """HTML or SVG, which a notebook's cell shows as a picture."""

    def _repr_html_(self) -> str:
        return str(self)


def array(values: Any) -> NDArray[Any]:
    """An array of an array, a tensor on any device, or anything that numpy takes."""
    if hasattr(values, "detach"):  # a tensor, of a package that reports need not import
        values = values.detach().cpu().float().numpy()
    return np.asarray(values)


def picture(image: Any) -> Bytes:
    """[H, W, C] uint8 of a Pillow image, an array or a tensor.

    Args:
        image: uint8, or float in [0, 1]; [H, W] or [H, W, C], a tensor also [C, H, W].
    """
    if hasattr(image, "convert"):  # Pillow's
        image = image.convert("L" if image.mode in ("1", "L") else "RGB")
    tensor = hasattr(image, "detach")
    whole = not tensor or not image.is_floating_point()
    pixels = array(image)
    if tensor and pixels.ndim == 3 and pixels.shape[0] in (1, 3):
        pixels = pixels.transpose(1, 2, 0)
    if not (whole and tensor) and pixels.dtype.kind == "f":
        pixels = np.rint(255 * pixels.clip(0, 1))
    return np.ascontiguousarray(pixels.astype(np.uint8).reshape(*pixels.shape[:2], -1))


def embedding_map(features: Any, how: MapKind = "pca", *, seed: int = 0) -> NDArray[np.float32]:
    """[N, 2]: places on a map; "umap" and "pacmap" come with manyviews[maps].

    Args:
        features: [N, D].
        how: "pca", "umap" or "pacmap".
        seed: of the last two.

    Raises:
        UsageError: the map's package is not installed.
    """
    return place(array(features).astype(np.float32), how, seed=seed)


def patch_colours(tokens: Any) -> NDArray[Any]:
    """[n, h, w, D] -> colours [n, h, w, 3] of the first three components."""
    return principal_colours(array(tokens))


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
    features: Any, *, queries: int = 8, nearest: int = 7, farthest: int = 2
) -> list[Neighbours]:
    """Nearest and farthest rows of some rows, by the cosine of centred features.

    Args:
        features: [N, D].
        queries: rows asked about, evenly spread.
        nearest: rows for each, itself not counted.
        farthest: likewise; none is shown on both sides.
    """
    known = array(features).astype(np.float32)
    rows = unit(known - known.mean(axis=0))
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


def gallery(
    features: Any, images: Sequence[Any], names: Sequence[str] = (), **counts: int
) -> Figure:
    """Rows of pictures: an image, its nearest neighbours, and after a gap the farthest images.

    Args:
        features: [N, D].
        images: N pictures (see `picture`).
        names: of the images, said to whoever cannot see them and shown on pointing.
        **counts: of `neighbours`.
    """
    figure = Markup(
        '<figure style="margin:0 {gap}px 0 0;text-align:center"><img width="92" src="{uri}" '
        'alt="{name}" title="{name}"><figcaption>{caption}</figcaption></figure>'
    )
    strips: list[Markup] = []
    for row in neighbours(features, **counts):
        shown = [(row.query, "query", 8)]
        shown += [(i, f"{cosine:.2f}", 8) for i, cosine in row.nearest]
        shown[-1] = (*shown[-1][:2], 28)
        shown += [(i, f"{cosine:.2f}", 8) for i, cosine in row.farthest]
        figures = [
            figure.format(
                gap=gap,
                uri=data_uri(picture(images[i]), side=96),
                caption=caption,
                name=names[i] if names else f"sample {i}",
            )
            for i, caption, gap in shown
        ]
        strips.append(Markup('<div style="display:flex">{}</div>').format(Markup("").join(figures)))
    return Figure(Markup("").join(strips))


def attention_heads(image: Any, weights: Any) -> list[Bytes]:
    """An image once for each head, bright where the class token looks.

    Args:
        image: [H, W, C] uint8.
        weights: [heads, h, w] or [heads, h * w] of a square grid, as `encoders.vit.attention`.
    """
    weights = array(weights)
    if weights.ndim == 2:
        side = math.isqrt(weights.shape[1])
        weights = weights.reshape(len(weights), side, side)
    return [heat(picture(image), head) for head in weights]


def invariance_bars(
    invariance: Mapping[str, Mapping[str, Bar | Mapping[str, float]]],
    *,
    of: str = "encoder",
    noun: Noun = SAMPLE,
) -> Figure:
    """How far each augmentation moves features, with 95 % intervals, as SVG.

    Args:
        invariance: space -> augmentation -> bar: `diagnosis.result.Diagnosed.invariance`,
            or the same from diagnosis.json.
        of: which encoder, in words: `diagnosis.result.Diagnosed.encoder`.
        noun: what samples are called.
    """
    drawn: dict[str, dict[str, Interval]] = {}
    for space, bars in invariance.items():
        for name, bar in bars.items():
            numbers = vars(bar) if isinstance(bar, Bar) else bar
            ends = Interval(numbers["change"], numbers["low"], numbers["high"])
            drawn.setdefault(of if space == "encoder" else space, {})[name] = ends
    return Figure(bar_chart(drawn, x=f"change: 0 none, 1 as far as another {noun.one}", mark=1.0))


def spectrum(values: Any, of: str = "") -> Figure:
    """Singular values, largest first, over a logarithmic axis, as SVG.

    Args:
        values: as `diagnosis.spectrum.singular_values`, or features [N, D], whose centred ones are
            then computed.
        of: the encoder, where there are several.
    """
    values = array(values)
    if values.ndim == 2:
        values = np.linalg.svd(values - values.mean(axis=0), compute_uv=False)
    values = [float(value) for value in values]
    line = Line("singular value", list(range(1, len(values) + 1)), list(values))
    label = f"singular value, {of}" if of else "singular value"
    return Figure(line_chart([line], x="direction", y=label, log=True))
