"""A training whose images are decoded once, where that pays."""

import math
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from manyviews.data import workers, worth
from manyviews.runs.assemble import Assembly
from manyviews.runs.folder.paths import Paths
from manyviews.training import checkpoint
from manyviews.views.image.columns import Columns


@contextmanager
def kept(assembly: Assembly, directory: Path, *, resume: bool) -> Generator[Assembly]:
    """The same pieces, whose source keeps what it decodes; `--data.store` says where, if at all.

    Args:
        assembly: the run's pieces.
        directory: the run's; a file lies in its cache.
        resume: from its newest checkpoint, so that fewer epochs are to come.
    """
    train, data = assembly.run.train, assembly.run.data
    steps = train.steps or train.epochs * assembly.steps_per_epoch
    done, paths = 0, Paths(directory)
    if resume:
        done = max(checkpoint.steps(paths.checkpoints), default=0)
    source = worth.keep(
        assembly.source,
        data,
        epochs=(steps - done) / assembly.steps_per_epoch if steps else math.inf,
        seconds=60 * train.minutes or math.inf,
        processes=workers.count(data.workers) * int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
        folder=paths.cache,
        device=assembly.device,
        how=Columns(),
    )
    if source is None:
        yield assembly
        return
    try:
        yield replace(assembly, source=source)
    finally:
        source.close()
