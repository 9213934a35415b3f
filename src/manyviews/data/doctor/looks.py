"""A look at each of some files, by processes, with a progress bar: how doctors of media begin."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

import numpy as np

from manyviews.core import UsageError
from manyviews.core.progress import bar
from manyviews.data import workers as processes
from manyviews.data.sources import Media, open_media

T = TypeVar("T")


def looks(
    spec: str,
    streams: Sequence[str],
    look: Callable[[Media, int], T],
    *,
    workers: int,
    sample: int,
) -> tuple[Media, dict[int, T]]:
    """The files that a DATA argument names, and position -> what was seen of some of them.

    Args:
        spec: as for `open_media`.
        streams: that each file has to have.
        look: at one of them; picklable.
        workers: processes; -1 chooses.
        sample: look at only this many, evenly spread; 0 looks at all.

    Raises:
        UsageError: there is no such data, or the sample is no number of files.
    """
    if sample < 0:
        raise UsageError(f"--sample {sample} is not a number of files. Use 0 for all.")
    source = open_media(spec, streams)
    size = min(sample, len(source)) if sample else len(source)
    chosen: list[int] = np.linspace(0, len(source) - 1, size).round().astype(int).tolist()
    seen = processes.each(partial(look, source), chosen, workers=processes.count(workers))
    return source, dict(zip(chosen, shown(seen, len(chosen)), strict=True))


def shown(looks: Iterator[T], total: int) -> Iterator[T]:
    """The same, with a progress bar."""
    with bar("reading") as progress:
        for done, look in enumerate(looks, 1):
            yield look
            progress(done, total)
