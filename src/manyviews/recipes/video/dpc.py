"""DPC and MemDPC for your own videos."""

from dataclasses import replace
from typing import Any

from manyviews.core.settings import parts, struct
from manyviews.methods.contrastive.dpc import DPCConfig
from manyviews.methods.contrastive.memdpc import MemDPCConfig
from manyviews.recipes.video import own
from manyviews.runs.settings import Facts, MethodConfig, Run

STREAMS = ("video",)
"""What these recipes take of a sample."""


def small(facts: Facts) -> Run[DPCConfig, Any, Any]:
    """Your own videos, sized to the hardware: of six clips of a quarter of a second predict two.

    Command: `manyviews train dpc --data DIR`; `--method.predict 3 --views.global.count 8` is the
    authors' plan.
    """
    return _run(facts, "dpc", DPCConfig(predict=2))


def memory(facts: Facts) -> Run[MemDPCConfig, Any, Any]:
    """Your own videos, sized to the hardware: the same by mixtures of 256 slots, both ways in time.

    Command: `manyviews train memdpc --data DIR`; `--method.predict 3 --method.slots 1024
    --views.global.count 8` is the authors' plan.
    """
    return _run(facts, "memdpc", MemDPCConfig(predict=2, slots=256))


def _run(facts: Facts, name: str, method: MethodConfig) -> Run[MethodConfig, Any, Any]:
    """Six clips in a row, of four frames each, that have one crop and one set of colours."""
    run = own.run(facts, name=name, method=method, count=6)
    encoder, clips = parts(run.encoders)["video"], parts(run.views)["global"]
    fed = replace(encoder.input, frames=4, rate=16.0)
    return replace(
        run,
        encoders=struct("Encoders", {"video": replace(encoder, input=fed)}),
        views=struct("Views", {"global": replace(clips, times="in-a-row", alike=True)}),
    )
