"""iBOT: for your own data, and as the authors trained it on ImageNet."""

from dataclasses import replace
from typing import Any

from manyviews.core.schedules import Cosine, Ramp
from manyviews.core.settings import struct
from manyviews.encoders.settings import ViTConfig
from manyviews.methods.distillation.ibot import IBOTConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import photometric, small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.image.masked import masked


def small(facts: Facts) -> Run[IBOTConfig, Any, Any]:
    """Your own data, sized to the images and the hardware, with local crops.

    Few prototypes and a quick teacher, as small data sets need.
    Command: `manyviews train ibot --data DIR`.
    """
    run = small_data.run(
        facts,
        name="ibot",
        method=IBOTConfig(
            hidden=512,
            bottleneck=128,
            prototypes=512,
            batch_norm=True,
            fixed_lengths=True,
            teacher_temperature=Ramp(0.04, 0.04),
            patch_temperature=Ramp(0.04, 0.04),
            momentum=Cosine(0.96, 1.0),
            frozen_until=0.02,
        ),
        local=2,
        tokens=True,
        light=True,
        optim=Optim(name="adamw", lr=1e-3, lr_per=0, weight_decay=0.05, warmup=0.1, clip=3.0),
    )
    return small_data.half_masked(run)


def imagenet(facts: Facts) -> Run[IBOTConfig, Any, Any]:
    """The authors' ViT-S/16 on ImageNet: 75.2 kNN, 77.9 linear after 800 epochs (published).

    Command: `torchrun --nproc-per-node 16 -m manyviews train ibot-imagenet --data DIR`.
    Source: bytedance/ibot README and main_ibot.py.
    """
    local = replace(photometric.DINO_LOCAL, count=10, scale=(0.05, 0.25))
    return Run(
        recipe="ibot-imagenet",
        method=IBOTConfig(),
        encoders=authors.image(
            ViTConfig(
                name="vit_small_patch16_224",
                drop_path=0.1,
                interpolation="dino",
                class_token=0.02,
            )
        ),
        views=struct(
            "Views",
            {"global": masked(replace(photometric.DINO, scale=(0.25, 1.0))), "local": local},
        ),
        data=authors.data(facts, batch_size=1024),
        optim=Optim(
            name="adamw",
            lr=5e-4,
            lr_end=1e-6 / 2e-3,
            weight_decay=0.04,
            weight_decay_end=0.4,
            warmup=10 / 800,
            clip=3.0,
            clip_each=True,
        ),
        train=Train(epochs=800),
    )
