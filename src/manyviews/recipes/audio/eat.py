"""EAT: for your own sounds, and as the authors trained it on AudioSet."""

from dataclasses import replace
from typing import Any

from manyviews.core.inputs import LogMel
from manyviews.core.schedules import Ramp
from manyviews.core.settings import struct
from manyviews.data.settings import Data
from manyviews.encoders.settings import AudioViTConfig
from manyviews.methods.masked.eat import EATConfig
from manyviews.recipes.audio import own
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.audio.sounds import Sounds

STREAMS = ("audio",)
"""What these recipes take of a sample."""

_BETAS = (0.9, 0.95)
_ROWS = 12 * 16
"""Sounds of a GPU, and masks of each, over which the authors' class token's error is a sum."""


def small(facts: Facts) -> Run[EATConfig, Any, Any]:
    """Your own sounds, sized to the hardware: a slow copy's tokens from a fifth of the patches.

    Command: `manyviews train eat --data DIR`.
    """
    gpu = facts.device != "cpu"
    encoder = AudioViTConfig(
        input=LogMel(seconds=1.28, bins=64),
        patch=8,
        width=384 if gpu else 192,
        depth=12 if gpu else 6,
        heads=6 if gpu else 3,
    )
    method = EATConfig(
        average=encoder.depth,
        masks=8 if gpu else 4,
        layers=3,
        momentum=Ramp(0.996, 0.9998, 0.5),
    )
    run = own.run(facts, name="eat", method=method, views=Sounds(around="", gain=0.2))
    return replace(
        run,
        encoders=struct("Encoders", {"audio": encoder}),
        optim=Optim(
            name="adamw", lr=5e-4, lr_per=0, weight_decay=0.05, betas=_BETAS, warmup=0.1, clip=4.0
        ),
    )


def audioset(facts: Facts) -> Run[EATConfig, Any, Any]:
    """The authors' ViT-B on AudioSet: 48.6 mAP after fine-tuning (published).

    Command: `torchrun --nproc-per-node 4 -m manyviews train eat-audioset --data DIR`. Source:
    cwx-worst-one/EAT config/pretraining_AS2M.yaml (400,000 steps of 48 sounds are ten epochs).
    Their weight of the class token's error, 1, is that of a sum over the 192 masks of a GPU.
    """
    return Run(
        recipe="eat-audioset",
        method=EATConfig(utterance=1.0 * _ROWS),
        encoders=struct("Encoders", {"audio": AudioViTConfig()}),
        views=struct("Views", {"global": Sounds(around="", gain=0.0)}),
        data=Data(source=facts.source, batch_size=48),
        optim=Optim(
            name="adamw",
            lr=5e-4,
            lr_per=0,
            weight_decay=0.05,
            betas=_BETAS,
            warmup=53333 / 400000,
            clip=4.0,
        ),
        train=Train(epochs=10),
    )
