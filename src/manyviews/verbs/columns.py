"""What `embed` writes beside features, so that other programs can show them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from manyviews.core.progress import bar, phase
from manyviews.core.sample import Source
from manyviews.data.direct import made, opened
from manyviews.evaluation.features import Extracted
from manyviews.reports.maps import MapKind, place
from manyviews.reports.pictures import encoded
from manyviews.views.pipeline import Pipeline

BATCH = 256


def columns(
    found: Extracted,
    source: Source,
    pipeline: Pipeline,
    *,
    how: MapKind = "pca",
    thumbnails: int = 0,
) -> dict[str, Any]:
    """Further columns of a Parquet file of features, a value each row.

    Args:
        found: features [N, D] or [N, T, D].
        source: whose samples they are.
        pipeline: that they went through.
        how: features become the points x and y; see `reports.maps.place`.
        thumbnails: longer side in pixels of small pictures; 0 for none.

    Returns:
        "x" and "y" (float32, of features [N, D] alone), "file" (the absolute path, where samples
        are files), and "image" (struct of bytes, PNG or JPEG, and path: the form that Hugging
        Face's datasets and embedding-atlas show): the image, of a video the frame in the middle of
        its clip, of a sound its spectrogram.

    Raises:
        UsageError: as `place`.
    """
    rows: list[int] = found.index.tolist()
    made: dict[str, Any] = {}
    if found.features.ndim == 2 and len(rows):
        with phase("placing on the map"):
            points = place(found.features.numpy(), how)
        made |= {"x": pa.array(points[:, 0]), "y": pa.array(points[:, 1])}
    if rows and Path(source.name(rows[0])).is_file():
        files = [str(Path(source.name(i)).absolute()) for i in rows]
        # surrogates stand for bytes of a file name that are not UTF-8
        clean = [name.encode("utf-8", "replace").decode() for name in files]
        made["file"] = pa.array(clean, pa.string())
    if thumbnails > 0:
        made["image"] = _pictures(source, pipeline, rows, thumbnails)
    return made


def _pictures(source: Source, pipeline: Pipeline, rows: Sequence[int], side: int) -> Any:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    found: list[dict[str, Any] | None] = []
    with bar("thumbnails") as progress:
        for start in range(0, len(rows), BATCH):
            progress(start, len(rows))
            part = rows[start : start + BATCH]
            read = _shown(source, pipeline, part)
            for i in part:
                if i in read:
                    form, data = encoded(read[i], side=side)
                    found.append({"bytes": data, "path": f"{i}.{form}"})
                else:
                    found.append(None)
    return pa.array(found, kind)


def _shown(source: Source, pipeline: Pipeline, rows: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
    """Position -> a picture of each sample that can be read."""
    items, _ = opened(source, pipeline, rows)
    whole = {i: item.image for i, item in items.items() if item.image is not None}
    if whole or not items:
        return whole
    raw = {name: torch.from_numpy(view) for name, view in made(pipeline, items)[0].items()}
    batch = pipeline.finish(raw, {}, torch.tensor(list(items)), torch.device("cpu"))
    [views], [fed] = batch.views.values(), pipeline.inputs().values()
    return {i: fed.picture(view) for i, view in zip(items, views[:, 0], strict=True)}
