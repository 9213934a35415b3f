"""MAViL for your own videos with sound: its first stage, and the second after a run of either."""

from dataclasses import replace
from typing import Any

from manyviews.core.inputs import Frames, LogMel
from manyviews.core.settings import struct
from manyviews.encoders.settings import AudioViTConfig, TubeletsConfig
from manyviews.methods.audiovisual.mavil import MAViLConfig
from manyviews.recipes.audiovisual import avid
from manyviews.runs.settings import Facts, Run, Teacher
from manyviews.training.settings import Optim
from manyviews.views.audio.sounds import Sounds
from manyviews.views.plan import Mask
from manyviews.views.video.clips import Clips

STREAMS = ("video", "audio")
"""What these recipes take of a sample."""

_HIDDEN = Mask(ratio=0.8)


def small(facts: Facts) -> Run[MAViLConfig, Any, Any]:
    """Your own videos with sound: a second of each and its sound, four fifths of both hidden.

    Both views of a clip are the same pictures, of which other places are hidden, and so are those
    of its sound. Command: `manyviews train mavil --data DIR`; videos without sound are left out.
    `--method.joint 0`, `--method.inter 0` and `--method.intra 0` leave out what the names say.
    """
    gpu = facts.device != "cpu"
    width, depth = (384, 12) if gpu else (192, 4)
    fed = Frames(side=112 if gpu else 64, frames=8, rate=8.0)
    sound = LogMel(seconds=1.28, bins=64)
    encoders = {
        "audio": AudioViTConfig(input=sound, patch=8, width=width, depth=depth),
        "video": TubeletsConfig(input=fed, tubelet=2, patch=8, width=width, depth=depth),
    }
    views = {
        "video": Clips(count=2, within=0.0, alike=True, scale=(0.5, 1.0), jitter=0.0, mask=_HIDDEN),
        "audio": Sounds(count=2, offset=0.0, gain=0.0, mask=_HIDDEN),
    }
    run: Run[Any, Any, Any] = avid.small(facts)
    return replace(
        run,
        recipe="mavil",
        method=MAViLConfig(width=128, depth=2, heads=4),
        encoders=struct("Encoders", encoders),
        views=struct("Views", views),
        optim=Optim(name="adamw", lr=1.5e-3, weight_decay=0.05, betas=(0.9, 0.95), warmup=0.05),
    )


def second(facts: Facts) -> Run[MAViLConfig, Any, Any]:
    """The same, but what is predicted are the features that an earlier run makes of all of both.

    Command: `manyviews train mavil-second --data DIR --teachers.earlier RUN`, RUN made by
    `manyviews train mavil --data DIR`, or by this recipe. Encoders begin with random weights.
    """
    run = small(facts)
    return replace(
        run,
        recipe="mavil-second",
        method=replace(run.method, target="features"),
        teachers=struct("Teachers", {"earlier": Teacher(whole=True)}),
    )
