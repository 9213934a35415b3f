"""Why a training waits for its data, and which flag to change."""

import os
import shlex

from manyviews.data import workers as processes
from manyviews.data.loader import Spent
from manyviews.data.pack.read import Packed
from manyviews.data.sources import Source


def why(source: Source, spent: Spent, *, workers: int) -> str:
    """Two sentences: what the data's workers spend their time on, and what to do about it.

    Args:
        source: the images.
        spent: what making the batches took so far.
        workers: processes of this rank that make them; 0 is the training process itself.
    """
    total = spent.reading + spent.making
    share = spent.reading / total if total else 0.0
    who = f"{workers} worker{'s' * (workers != 1)}" if workers else "the training process itself"
    what = (
        f"reading images takes {share:.0%}"
        if share > 0.5
        else f"making views takes {1 - share:.0%}"
    )
    cores = processes.cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    advice: list[str] = []
    if workers < cores:
        advice.append(f"--data.workers {cores}")
    if share > 0.5 and not source.stack and not isinstance(source, Packed):
        packing = f"`manyviews pack {shlex.quote(source.spec)} OUT` once, then --data OUT"
        advice.append(packing)
    if share <= 0.5:
        advice.append("fewer or smaller views (--views.*.count, --views.*.size)")
    if workers >= cores:
        advice.append("a larger encoder, which costs no time here")
    return f"Of the work of {who} {what}. Try {', or '.join(advice)}."
