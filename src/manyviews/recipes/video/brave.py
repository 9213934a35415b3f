"""BraVe on pictures, or on pictures and their optical flow, for your own videos."""

from dataclasses import replace
from typing import Any

from manyviews.core.settings import parts, struct
from manyviews.methods.distillation.brave import BraVeConfig
from manyviews.recipes.video import own
from manyviews.runs.settings import Facts, Run

STREAMS = ("video",)
"""What these recipes take of a sample."""


def small(facts: Facts) -> Run[BraVeConfig, Any, Any]:
    """Your own videos, sized to the hardware: half a second predicts two seconds of half the side.

    Command: `manyviews train brave --data DIR`. It leaves an encoder for each: `narrow` is the one
    to keep.
    """
    run = own.run(facts, name="brave", method=BraVeConfig(hidden=1024, predictor_lr=1.0))
    [encoder], clips = parts(run.encoders).values(), parts(run.views)["global"]
    fed = encoder.input
    encoders = {
        "narrow": replace(encoder, input=replace(fed, rate=16.0)),
        "broad": replace(encoder, input=replace(fed, side=fed.side // 2, rate=4.0)),
    }
    views = {name: replace(clips, to=name, count=1) for name in encoders}
    return replace(run, encoders=struct("Encoders", encoders), views=struct("Views", views))


def flow(facts: Facts) -> Run[BraVeConfig, Any, Any]:
    """Your own videos: half a second of pictures predicts two seconds of optical flow.

    Command: `manyviews train brave-flow --data DIR`. The flow is of half the side, and between
    frames an eighth of a second apart.
    """
    run: Run[BraVeConfig, Any, Any] = small(facts)
    encoders = parts(run.encoders)
    broad = encoders["broad"]
    moving = own.motion(replace(broad.input, frames=16, rate=8.0))
    encoders = encoders | {"broad": replace(broad, input=moving)}
    return replace(run, recipe="brave-flow", encoders=struct("Encoders", encoders))
