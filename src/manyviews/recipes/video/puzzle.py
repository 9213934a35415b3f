"""Space-time cubic puzzles for your own videos."""

from dataclasses import replace
from typing import Any

from manyviews.core.settings import parts, struct
from manyviews.methods.pretext.cubic_puzzle import CubicPuzzleConfig
from manyviews.recipes.video import own
from manyviews.runs.settings import Facts, Run
from manyviews.views.video.cuboids import Cuboids

STREAMS = ("video",)
"""What these recipes take of a sample."""


def small(facts: Facts) -> Run[CubicPuzzleConfig, Any, Any]:
    """Your own videos, sized to the hardware: pieces of half a second, so that four fit in.

    Command: `manyviews train cubic-puzzle --data DIR`.
    """
    run = own.run(facts, name="cubic-puzzle", method=CubicPuzzleConfig(hidden=128))
    [(name, encoder)] = parts(run.encoders).items()
    encoder = replace(encoder, input=replace(encoder.input, rate=16.0))
    views = {"space": Cuboids(slack=0.25), "time": Cuboids(along="time")}
    return replace(run, encoders=struct("Encoders", {name: encoder}), views=struct("Views", views))
