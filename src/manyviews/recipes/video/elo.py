"""ELo for your own videos: tasks on pictures and on optical flow, which is distilled into them."""

from dataclasses import replace
from typing import Any

from manyviews.core.settings import parts, struct
from manyviews.methods.catalog import ELoConfig
from manyviews.methods.contrastive.simclr import SimCLRConfig
from manyviews.methods.pretext.playback import PlaybackConfig
from manyviews.recipes.video import own
from manyviews.runs.settings import Facts, Run
from manyviews.views.video.beside import BesideClips

STREAMS = ("video",)
"""What these recipes take of a sample."""


def small(facts: Facts) -> Run[ELoConfig, Any, Any]:
    """Your own videos: tell clips and directions of time apart, and learn what the flow shows.

    Command: `manyviews train elo --data DIR`; `manyviews evolve elo --data DIR --out FILE` looks
    for its weights. The encoder to keep is `video`.
    """
    contrast = SimCLRConfig(temperature=0.2, hidden=512, out=128)
    method = ELoConfig(
        tasks=struct(
            "Tasks",
            {
                "contrast": contrast,
                "arrow": PlaybackConfig(classes=2),
                "flow_contrast": contrast,
            },
        ),
        on=("video", "video", "flow"),
        weights=(1.0, 1.0, 1.0, 1.0),
    )
    run = own.run(facts, name="elo", method=method)
    [encoder], clips = parts(run.encoders).values(), parts(run.views)["global"]
    fed = encoder.input
    encoders = {
        "video": encoder,
        "flow": replace(encoder, input=own.motion(replace(fed, side=fed.side // 2))),
    }
    one = replace(clips, count=1)
    views = {
        "video": one,
        "flow": BesideClips(to="flow", around="video", scale=one.scale),
        "contrast": clips,
        "arrow": replace(clips, speeds=(1.0, -1.0)),
        "flow_contrast": replace(clips, to="flow"),
    }
    return replace(run, encoders=struct("Encoders", encoders), views=struct("Views", views))
