"""V-JEPA: for your own videos, and as the authors trained it on VideoMix2M."""

import math
from dataclasses import replace
from typing import Any

from manyviews.core.schedules import Ramp
from manyviews.core.settings import struct
from manyviews.data.settings import Data
from manyviews.encoders.settings import TubeletsConfig
from manyviews.methods.masked.vjepa import VJEPAConfig
from manyviews.recipes.video import own
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.video.blocks import BlockClips

STREAMS = ("video",)
"""What these recipes take of a sample."""


def small(facts: Facts) -> Run[VJEPAConfig, Any, Any]:
    """Your own videos, sized to the hardware: a ViT-S on a GPU, with a quick target encoder.

    Command: `manyviews train vjepa --data DIR`.
    """
    gpu = facts.device != "cpu"
    encoder = TubeletsConfig(
        input=own.fed(facts),
        patch=8,
        width=384 if gpu else 192,
        depth=12 if gpu else 6,
        heads=6 if gpu else 3,
        positions="grid",
    )
    method = VJEPAConfig(
        width=192 if gpu else 96,
        depth=6 if gpu else 3,
        heads=3,
        momentum=Ramp(0.99, 1.0, fraction=1.0),
    )
    run = own.run(facts, name="vjepa", method=method)
    return replace(
        run,
        encoders=struct("Encoders", {"video": encoder}),
        views=struct("Views", {"global": BlockClips(scale=(0.3, 1.0), jitter=0.0)}),
        optim=Optim(name="adamw", lr=1e-3, weight_decay=0.05, warmup=0.05),
    )


def _cut(start: float, end: float, *, warmup: float) -> float:
    """Where a cosine is that would reach `end` after 1.25 times the training.

    Source: facebookresearch/jepa configs/pretrain/vitl16.yaml, ipe_scale.
    """
    done = (1 - warmup) / (1.25 - warmup)
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * done))


def videomix(facts: Facts) -> Run[VJEPAConfig, Any, Any]:
    """The authors' ViT-L/16 on VideoMix2M: 80.8 % on Kinetics-400, attentive probe (published).

    Command: `torchrun --nproc-per-node 128 -m manyviews train vjepa-videomix --data DIR`; 90,000
    steps. Source: facebookresearch/jepa configs/pretrain/vitl16.yaml.
    """
    views = BlockClips(scale=(0.3, 1.0), ratio=(0.75, 1.35), jitter=0.0)
    return Run(
        recipe="vjepa-videomix",
        method=VJEPAConfig(),
        encoders=struct(
            "Encoders",
            {"video": TubeletsConfig(width=1024, depth=24, heads=16, positions="grid")},
        ),
        views=struct("Views", {"global": views}),
        data=Data(source=facts.source, batch_size=16 * 8 * 24),
        optim=Optim(
            name="adamw",
            lr=6.25e-4,
            lr_per=0,
            lr_start=2e-4 / 6.25e-4,
            lr_end=_cut(6.25e-4, 1e-6, warmup=40 / 300) / 6.25e-4,
            weight_decay=0.04,
            weight_decay_end=_cut(0.04, 0.4, warmup=0.0),
            warmup=40 / 300,
            clip=10.0,
        ),
        train=Train(steps=300 * 300),
    )
