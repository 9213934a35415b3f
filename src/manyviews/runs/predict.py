"""Features of a data set as a table in memory."""

from pathlib import Path
from typing import Any

import numpy as np

from manyviews.core.extras import frame
from manyviews.core.inputs import image_channels
from manyviews.core.progress import bar
from manyviews.data.settings import MAX_PIXELS
from manyviews.data.sources import open_data
from manyviews.evaluation.features import extract
from manyviews.runs.assemble import readers
from manyviews.runs.embedder import Embedder


def predict(network: Embedder, data: str | Path, *, batch_size: int) -> Any:
    """See `Embedder.predict`."""
    data = str(data)
    frame([{"path": ""}], index="path")  # without pandas there is nothing to wait for
    pipeline, channels = network.fixed, image_channels(network.input)
    source = open_data(data, pipeline.streams, channels=channels, max_pixels=MAX_PIXELS)
    with bar("embedding") as progress:
        found = extract(
            network,
            source,
            pipeline,
            batch_size=batch_size,
            device=next(network.parameters()).device,
            progress=progress,
            workers=readers(source),
        )
    features = np.asarray(found.features.cpu())
    rows: list[dict[Any, Any]] = [
        {"path": source.name(i), **dict(enumerate(feature))}
        for i, feature in zip(found.index.tolist(), features, strict=True)
    ]
    return frame(rows, index="path")
