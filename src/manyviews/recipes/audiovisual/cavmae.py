"""CAV-MAE: for your own videos with sound, and after the authors' training on AudioSet."""

from dataclasses import replace
from typing import Any

from manyviews.core.inputs import Frames, LogMel
from manyviews.core.settings import override, struct
from manyviews.data.settings import Data
from manyviews.encoders.settings import AudioViTConfig, TubeletsConfig
from manyviews.methods.audiovisual.cavmae import CAVMAEConfig
from manyviews.recipes.audiovisual import avid
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.audio.sounds import Sounds
from manyviews.views.plan import Mask
from manyviews.views.video.clips import Clips

STREAMS = ("video", "audio")
"""What these recipes take of a sample."""

_HIDDEN = Mask(ratio=0.75)
_SECONDS = 1.28
"""Of sound, in the recipes for your own data."""


def small(facts: Facts) -> Run[CAVMAEConfig, Any, Any]:
    """Your own videos with sound: a frame of each and the sound around it, three quarters hidden.

    Command: `manyviews train cav-mae --data DIR`. Videos without sound are left out.
    """
    gpu = facts.device != "cpu"
    width, depth = (384, 11) if gpu else (192, 4)
    frame = Frames(side=112 if gpu else 64, frames=1, rate=1.0)
    sound = LogMel(seconds=_SECONDS, bins=64)
    encoders = {
        "audio": AudioViTConfig(input=sound, patch=8, width=width, depth=depth),
        "video": TubeletsConfig(
            input=frame, tubelet=1, patch=8, width=width, depth=depth, positions="grid"
        ),
    }
    views = {
        "video": Clips(scale=(0.5, 1.0), jitter=0.0, mask=_HIDDEN),
        "audio": Sounds(mask=_HIDDEN),
    }
    run: Run[Any, Any, Any] = avid.small(facts)
    return replace(
        run,
        recipe="cav-mae",
        method=CAVMAEConfig(width=128, depth=4, heads=4),
        encoders=struct("Encoders", encoders),
        views=struct("Views", views),
        optim=Optim(name="adamw", lr=1.5e-3, weight_decay=0.05, betas=(0.9, 0.95), warmup=0.05),
    )


def sync(facts: Facts) -> Run[CAVMAEConfig, Any, Any]:
    """The same in step, as CAV-MAE Sync: the sound in whose middle the frame is, by class tokens.

    Command: `manyviews train cav-mae-sync --data DIR`. What is compared has two blocks of each
    modality to itself, so that it hinders reconstruction less.
    """
    told = {
        "method.own": 2,
        "method.compared": "class",
        "encoders.video.class_token": True,
        "views.audio.offset": 0.0,
        "views.audio.lead": _SECONDS / 2,
    }
    return replace(override(small(facts), told), recipe="cav-mae-sync")


def audioset(facts: Facts) -> Run[CAVMAEConfig, Any, Any]:
    """The authors' ViT-B on AudioSet: 51.2 mAP of sound and pictures after fine-tuning (published).

    Command: `torchrun --nproc-per-node 4 -m manyviews train cav-mae-audioset --data DIR --start
    FILE`. Source: YuanGongND/cav-mae egs/audioset/run_cavmae_pretrain_scale++.sh, which begins from
    MAE's weights of ImageNet and halves the rate every five epochs from the tenth on, where this
    falls by a cosine. The number is of their training in batches of 108 (Scale+); with this one's
    256 (Scale++) they call it slightly better.
    """
    frame = Frames(side=224, frames=1, rate=1.0)
    sound = LogMel(seconds=10.24, mean=-5.081, std=4.4849)
    encoders = {
        "audio": AudioViTConfig(input=sound, depth=11),
        "video": TubeletsConfig(input=frame, tubelet=1, depth=11, positions="grid"),
    }
    views = {
        "video": Clips(
            scale=(1.0, 1.0),
            ratio=(1.0, 1.0),
            interpolation="bicubic",
            flip=0.0,
            jitter=0.0,
            mask=_HIDDEN,
        ),
        "audio": Sounds(around="", gain=0.0, roll=1.0, mask=_HIDDEN),
    }
    return Run(
        recipe="cav-mae-audioset",
        method=CAVMAEConfig(),
        encoders=struct("Encoders", encoders),
        views=struct("Views", views),
        data=Data(source=facts.source, batch_size=256),
        optim=Optim(
            name="adam", lr=2e-4, lr_per=0, weight_decay=5e-7, betas=(0.95, 0.999), decay_all=True
        ),
        train=Train(epochs=25),
    )
