"""ELo for your own videos with sound: of which optical flow and sound are distilled."""

from dataclasses import replace
from typing import Any

from manyviews.core.inputs import LogMel
from manyviews.core.settings import parts, struct
from manyviews.encoders.audio import AudioConvConfig
from manyviews.methods.audiovisual.l3 import L3Config
from manyviews.methods.catalog import ELoConfig
from manyviews.recipes.video import elo
from manyviews.runs.settings import Facts, Run
from manyviews.views.audio.sounds import Sounds

STREAMS = ("video", "audio")
"""What these recipes take of a sample."""


def sound(facts: Facts) -> Run[ELoConfig, Any, Any]:
    """Your own videos with sound: the tasks of `elo`, and whether sound belongs to pictures.

    Command: `manyviews train elo-sound --data DIR`.
    """
    run: Run[ELoConfig, Any, Any] = elo.small(facts)
    gpu, views = facts.device != "cpu", parts(run.views)
    [one, *_] = views.values()
    heard = AudioConvConfig(input=LogMel(bins=64), width=64 if gpu else 16, depth=1)
    added = {
        "audio": Sounds(around="video", offset=0.0),
        "match_video": one,
        "match_audio": Sounds(around="match_video", offset=0.0),
    }
    return replace(
        run,
        recipe="elo-sound",
        method=replace(
            run.method,
            tasks=struct("Tasks", parts(run.method.tasks) | {"match": L3Config()}),
            on=(*run.method.on, "video+audio"),
            sides=("flow", "audio"),
            weights=(1.0,) * 6,
        ),
        encoders=struct("Encoders", parts(run.encoders) | {"audio": heard}),
        views=struct("Views", views | added),
    )
