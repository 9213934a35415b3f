"""MSN and PMSN: for your own data, and MSN as the authors trained it on ImageNet."""

import math
from dataclasses import replace
from typing import Any

from manyviews.core.schedules import Ramp
from manyviews.core.settings import parts, struct
from manyviews.encoders.settings import ViTConfig
from manyviews.methods.distillation.msn import MSNConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.plan import Crops, Mask

DROP = Mask(ratio=0.15)
"""Tokens that an anchor view loses, at random (facebookresearch/msn configs/pretrain)."""


def small(facts: Facts) -> Run[MSNConfig, Any, Any]:
    """Your own data, sized to the images and the hardware, with focal crops.

    Few prototypes and a quick teacher, as small data sets need.
    Command: `manyviews train msn --data DIR`.
    """
    return _small(facts, "msn", MSNConfig())


def prior(facts: Facts) -> Run[MSNConfig, Any, Any]:
    """The same for data whose classes differ in size: few prototypes may hold most of it.

    Command: `manyviews train pmsn --data DIR`. The exponent is lightly's; no code of the authors'
    is public.
    """
    return _small(facts, "pmsn", MSNConfig(prior=0.25, rounds=0))


def _small(facts: Facts, name: str, method: MSNConfig) -> Run[MSNConfig, Any, Any]:
    run = small_data.run(
        facts,
        name=name,
        method=replace(
            method,
            hidden=512,
            out=128,
            prototypes=256,
            momentum=Ramp(0.96, 1.0, fraction=1.0),
        ),
        local=2,
        tokens=True,
        light=True,
        optim=Optim(name="adamw", lr=1e-3, lr_per=0, weight_decay=0.05, warmup=0.1, clip=3.0),
    )
    views = parts(run.views)
    dropped = replace(views["global"], mask=DROP)
    return replace(run, views=struct("Views", views | {"global": dropped}))


def imagenet(facts: Facts) -> Run[MSNConfig, Any, Any]:
    """The authors' ViT-S/16 on ImageNet, 800 epochs; their repository says no accuracy.

    Command: `torchrun --nproc-per-node 16 -m manyviews train msn-imagenet --data DIR`.
    Source: facebookresearch/msn configs/pretrain/msn_vits16.yaml and src. Their schedules are a
    quarter longer than training and cut off; here they end where theirs are then
    (docs/methods/msn.md).
    """
    seen = Crops(scale=(0.3, 1.0), brightness=0.4, contrast=0.4, saturation=0.4, mask=DROP)
    focal = replace(seen, count=10, size=96, scale=(0.05, 0.3), mask=Mask())
    return Run(
        recipe="msn-imagenet",
        method=MSNConfig(),
        encoders=authors.image(
            ViTConfig(name="vit_small_patch16_224", interpolation="mae", class_token=0.02)
        ),
        views=struct("Views", {"global": seen, "local": focal}),
        data=authors.data(facts, batch_size=1024),
        optim=Optim(
            name="adamw",
            lr=1e-3,
            lr_per=0,
            lr_start=2e-4 / 1e-3,
            lr_end=_cut(1.0, 1e-6 / 1e-3, (800 - 15) / (1.25 * 800 - 15)),
            weight_decay=0.04,
            weight_decay_end=_cut(0.04, 0.4, 1 / 1.25),
            warmup=15 / 800,
            clip=3.0,
        ),
        train=Train(epochs=800),
    )


def _cut(start: float, end: float, share: float) -> float:
    """Where half a cosine from start to end is after a share of its length."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
