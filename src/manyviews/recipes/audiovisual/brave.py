"""BraVe on pictures and sound: for your own videos, and after the authors' settings."""

from dataclasses import replace
from typing import Any

from manyviews.core.inputs import Frames, LogMel
from manyviews.core.settings import parts, struct
from manyviews.data.settings import Data
from manyviews.encoders.audio import AudioConvConfig
from manyviews.encoders.slow import SlowConfig
from manyviews.methods.distillation.brave import BraVeConfig
from manyviews.recipes.video import brave
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.audio.sounds import Sounds
from manyviews.views.video.clips import Clips

STREAMS = ("video", "audio")
"""What these recipes take of a sample."""

_STEPS = 300_000


def sound(facts: Facts) -> Run[BraVeConfig, Any, Any]:
    """Your own videos with sound: half a second of pictures predicts two seconds of sound.

    Command: `manyviews train brave-sound --data DIR`. Sound begins when the pictures do.
    """
    run: Run[BraVeConfig, Any, Any] = brave.small(facts)
    gpu = facts.device != "cpu"
    heard = AudioConvConfig(input=LogMel(bins=64), width=64 if gpu else 16, depth=1)
    encoders = {"narrow": parts(run.encoders)["narrow"], "broad": heard}
    views = {
        "narrow": parts(run.views)["narrow"],
        "broad": Sounds(to="broad", around="narrow", offset=0.0),
    }
    return replace(
        run,
        recipe="brave-sound",
        method=replace(run.method, shared=False),
        encoders=struct("Encoders", encoders),
        views=struct("Views", views),
    )


def sound_and_flow(facts: Facts) -> Run[BraVeConfig, Any, Any]:
    """Your own videos with sound: pictures predict both two seconds of sound and of optical flow.

    Command: `manyviews train brave-sound-flow --data DIR`.
    """
    run, other = sound(facts), brave.flow(facts)
    encoders, views = parts(run.encoders), parts(run.views)
    return replace(
        run,
        recipe="brave-sound-flow",
        method=replace(run.method, broad=("sound", "flow")),
        encoders=struct(
            "Encoders",
            {
                "narrow": encoders["narrow"],
                "sound": encoders["broad"],
                "flow": parts(other.encoders)["broad"],
            },
        ),
        views=struct(
            "Views",
            {
                "narrow": views["narrow"],
                "sound": replace(views["broad"], to="sound"),
                "flow": replace(parts(other.views)["broad"], to="flow"),
            },
        ),
    )


def audioset(facts: Facts) -> Run[BraVeConfig, Any, Any]:
    """After the authors' pictures and sound: 93.0 % linear on UCF-101 (published, V/A).

    Command: `torchrun --nproc-per-node 16 -m manyviews train brave-audioset --data DIR`. Source:
    google-deepmind/brave, whose released settings these are. Their networks are ResNets of 50
    layers, of pictures with shifts over time; here pictures have a slow-only ResNet-50 and sound
    AVID's network, so that projector and predictor are two. Nor has a published number been
    trained by the released code.
    """
    frames = Frames(frames=16, rate=12.5, mean=(0.0,), std=(1.0,))
    heard = LogMel(rate=48_000, seconds=10.24, bins=80, hop=160 / 48_000, window=320 / 48_000)
    clips = Clips(
        to="narrow",
        scale=(0.3, 1.0),
        ratio=(0.5, 2.0),
        jitter=0.8,
        brightness=32 / 255,
        contrast=0.4,
        saturation=0.4,
        hue=0.2,
        grey=0.2,
        blur=1.0,
    )
    return Run(
        recipe="brave-audioset",
        method=BraVeConfig(shared=False),
        encoders=struct(
            "Encoders",
            {"narrow": SlowConfig(input=frames), "broad": AudioConvConfig(input=heard)},
        ),
        views=struct(
            "Views",
            {
                "narrow": clips,
                "broad": Sounds(to="broad", around="narrow", offset=0.0, gain=0.0),
            },
        ),
        data=Data(source=facts.source, batch_size=512),
        optim=Optim(
            name="lars-classic",
            lr=1.0,
            lr_per=0,
            warmup=5000 / _STEPS,
            weight_decay=1e-2,
            momentum=0.9,
        ),
        train=Train(steps=_STEPS),
    )
