"""Whether pictures and sound belong together, on your own videos: L3, AVTS, Multisensory."""

from dataclasses import replace
from typing import Any

from manyviews.core.inputs import Frames, LogMel
from manyviews.core.settings import parts, struct
from manyviews.encoders.audio import AudioConvConfig
from manyviews.encoders.slow import SlowConfig
from manyviews.methods.audiovisual.avts import AVTSConfig
from manyviews.methods.audiovisual.l3 import L3Config
from manyviews.methods.audiovisual.multisensory import MultisensoryConfig
from manyviews.recipes.audiovisual import avid
from manyviews.runs.settings import Facts, Run
from manyviews.views.audio.sounds import Sounds
from manyviews.views.video.clips import Clips

STREAMS = ("video", "audio")
"""What these recipes take of a sample."""


def l3(facts: Facts) -> Run[L3Config, Any, Any]:
    """Your own videos with sound: tell whether a frame and a second of sound are of one video.

    Command: `manyviews train l3 --data DIR`. The second begins with the frame.
    """
    run: Run[Any, Any, Any] = avid.small(facts)
    gpu = facts.device != "cpu"
    frame = Frames(side=112 if gpu else 64, frames=1, rate=1.0)
    picture = SlowConfig(input=frame, layers=18 if gpu else 10, width=64 if gpu else 16)
    views = {"video": Clips(scale=(0.3, 1.0)), "audio": Sounds(offset=0.0)}
    return replace(
        run,
        recipe="l3",
        method=L3Config(),
        encoders=struct("Encoders", parts(run.encoders) | {"video": picture}),
        views=struct("Views", views),
    )


def avts(facts: Facts) -> Run[AVTSConfig, Any, Any]:
    """Your own videos with sound: tell whether a clip and its sound are in step.

    Command: `manyviews train avts --data DIR`. Videos of a few seconds and more: in shorter ones
    there is no other time.
    """
    run: Run[Any, Any, Any] = avid.small(facts)
    views = {
        "video": Clips(scale=(0.3, 1.0)),
        "audio": Sounds(offset=0.0),
        "apart": Sounds(apart=0.5),
    }
    return replace(
        run,
        recipe="avts",
        method=AVTSConfig(hard_from=5 / 9, hidden=256),
        views=struct("Views", views),
    )


def multisensory(facts: Facts) -> Run[MultisensoryConfig, Any, Any]:
    """Your own videos with sound: tell whether a clip has its sound or that of another time.

    Command: `manyviews train multisensory --data DIR`. Two seconds of each; videos of less than
    four tell nothing. The pictures' network keeps all times apart, so that both can be held against
    each other moment by moment.
    """
    run: Run[Any, Any, Any] = avid.small(facts)
    gpu = facts.device != "cpu"
    frames = Frames(side=112 if gpu else 64, frames=16, rate=8.0)
    encoders = {
        "video": SlowConfig(input=frames, layers=18 if gpu else 10, width=64 if gpu else 16),
        "audio": AudioConvConfig(
            input=LogMel(seconds=2.0, bins=64), width=64 if gpu else 16, depth=1
        ),
    }
    views = {
        "video": Clips(scale=(0.766, 1.0), ratio=(1.0, 1.0), jitter=0.0),
        "audio": Sounds(offset=0.0, gain=0.0),
        "apart": Sounds(apart=0.0, gain=0.0),
    }
    return replace(
        run,
        recipe="multisensory",
        method=MultisensoryConfig(width=128 if gpu else 64),
        encoders=struct("Encoders", encoders),
        views=struct("Views", views),
    )
