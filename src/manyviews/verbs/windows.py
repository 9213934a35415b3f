"""A row for every window of a video or a sound: what `embed --level window` writes."""

import math

import torch
from torch import Tensor

from manyviews.core import Failure, UsageError
from manyviews.core.sample import Source
from manyviews.data.cut import Cut
from manyviews.views.pipeline import Pipeline


def cut(source: Source, pipeline: Pipeline, *, every: float) -> Cut:
    """The windows of all samples, each as long as an encoder is fed.

    Args:
        source: the samples.
        pipeline: makes one plain view of each for that encoder.
        every: seconds from the start of one window to that of the next; 0 for their length.

    Raises:
        UsageError: what the encoder is fed has no time.
        Failure: no sample can be read.
    """
    [stream] = pipeline.streams
    [window] = pipeline.asks(stream, span=0.0)
    seconds = window.stop - window.start
    if not math.isfinite(seconds):
        raise UsageError(
            "--level window is for encoders of video and of sound, and this one is fed something "
            "without time. Use --level image."
        )
    found = Cut(source, seconds=seconds, every=every or seconds)
    if not len(found):
        first = next(iter(found.bad.values()))
        raise Failure(
            f"None of the {len(source)} files could be read; the first is {first.path}: "
            f"{first.reason}. Check them with `manyviews doctor`."
        )
    return found


def places(found: Cut, rows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Of windows [N] int64 the positions of their samples in the data set, and their times.

    Returns:
        [N] int64; "start" and "end" -> [N] float64, seconds from the beginning of the file.
    """
    of = [found.rows[row] for row in rows.tolist()]
    index = torch.tensor([sample for sample, _, _ in of], dtype=torch.int64)
    start = torch.tensor([start for _, start, _ in of], dtype=torch.float64)
    return index, {"start": start, "end": torch.tensor([end for *_, end in of]).double()}
