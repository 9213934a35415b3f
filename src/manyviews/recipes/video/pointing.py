"""Colorization by pointing, for your own videos."""

from dataclasses import replace
from typing import Any

from manyviews.core.settings import struct
from manyviews.encoders.settings import TubeletsConfig
from manyviews.methods.pretext.pointing import PointingConfig
from manyviews.recipes.video import own
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim
from manyviews.views.video.clips import Clips

STREAMS = ("video",)
"""What these recipes take of a sample."""


def small(facts: Facts) -> Run[PointingConfig, Any, Any]:
    """Your own videos, sized to the hardware: three frames colour the one after them.

    Command: `manyviews train pointing --data DIR`; frames are a quarter of a second apart.
    """
    gpu = facts.device != "cpu"
    encoder = TubeletsConfig(
        input=replace(own.fed(facts), frames=4, rate=4.0),
        tubelet=1,
        patch=8,
        width=384 if gpu else 192,
        depth=12 if gpu else 6,
        heads=6 if gpu else 3,
    )
    run = own.run(facts, name="pointing", method=PointingConfig())
    return replace(
        run,
        encoders=struct("Encoders", {"video": encoder}),
        views=struct("Views", {"global": Clips(scale=(0.3, 1.0), jitter=0.0)}),
        optim=Optim(name="adamw", lr=1e-3, weight_decay=0.05, warmup=0.05),
    )
