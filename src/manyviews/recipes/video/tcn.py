"""Time-contrastive networks for your own videos."""

from dataclasses import fields, replace
from typing import Any

from manyviews.core.settings import parts, struct
from manyviews.methods.contrastive.tcn import TCNConfig
from manyviews.recipes.video import own
from manyviews.runs.settings import Facts, Run
from manyviews.views.video.timed import TimedClips

STREAMS = ("video",)
"""What these recipes take of a sample."""


def small(facts: Facts) -> Run[TCNConfig, Any, Any]:
    """Your own videos, sized to the hardware: four clips of a quarter of a second of each.

    Command: `manyviews train tcn --data DIR`; `--method.others false` leaves only other times of
    the same video as negatives.
    """
    run = own.run(facts, name="tcn", method=TCNConfig(hidden=512), count=4)
    [encoder], clips = parts(run.encoders).values(), parts(run.views)["global"]
    fed = replace(encoder.input, frames=4, rate=16.0)
    timed = TimedClips(**{field.name: getattr(clips, field.name) for field in fields(clips)})
    return replace(
        run,
        encoders=struct("Encoders", {"video": replace(encoder, input=fed)}),
        views=struct("Views", {"global": timed}),
    )
