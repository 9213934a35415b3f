"""Views of chosen samples, made in this process: what looks at data uses, and no training."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyviews.core.sample import Arrays, Source, Unreadable
from manyviews.data.micro_batch import Make, Makes
from manyviews.data.order import Pass
from manyviews.data.packet import rooms
from manyviews.data.pairs import Pairs
from manyviews.data.timeouts import Unanswered, within


def seen(
    source: Source,
    pipeline: Makes,
    index: Sequence[int],
    *,
    epoch: int = 0,
    pairs: Pairs | None = None,
) -> tuple[list[int], dict[str, NDArray[Any]], Arrays]:
    """Views of these samples, made in this process, unreadable ones left out.

    Returns:
        The positions that could be read; family -> [B, V, ...] raw; the cues.
    """
    if pairs is None:
        items, _ = opened(source, pipeline, index, epoch=epoch)
        return list(items), *made(pipeline, items, epoch=epoch)
    order = Pass(count=len(source), start=0, stop=len(source), local=len(index))
    make = Make(source, pipeline, order, None, most_bad=len(source), senders=0, pairs=pairs)
    return make.grouped(np.array(index, dtype=np.int64), epoch)


def opened(
    source: Source, pipeline: Makes, index: Sequence[int], *, epoch: int = 0
) -> tuple[dict[int, Any], dict[int, Unreadable]]:
    """Decode what the views of these samples need, in this process.

    Returns:
        Position -> what was read; position -> why it could not be.
    """
    items: dict[int, Any] = {}
    bad: dict[int, Unreadable] = {}
    for i in index:
        try:
            with within():
                items[i] = pipeline.read(source, i, epoch)
        except Unreadable as error:
            bad[i] = error
        except Unanswered as late:
            bad[i] = Unreadable(source.name(i), str(late))
    return items, bad


def made(
    pipeline: Makes, items: Mapping[int, Any], *, epoch: int = 0
) -> tuple[dict[str, NDArray[Any]], Arrays]:
    """Views of what was read, position -> item: family -> [B, V, ...] raw; and the cues."""
    views = rooms(pipeline.makes, len(items))
    where = np.array(list(items), dtype=np.int64)
    cues = pipeline.make(list(items.values()), where, epoch, views) if len(items) else {}
    return views, cues
