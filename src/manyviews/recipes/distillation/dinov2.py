"""DINOv2: for your own data, and as the authors trained it on ImageNet."""

import math
from dataclasses import replace
from typing import Any

from manyviews.core.schedules import Cosine, Ramp
from manyviews.core.settings import struct
from manyviews.encoders.settings import ViTConfig
from manyviews.methods.distillation.dinov2 import DINOv2Config
from manyviews.recipes import imagenet as authors
from manyviews.recipes import photometric, small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.image.masked import masked


def small(facts: Facts) -> Run[DINOv2Config, Any, Any]:
    """Your own data, sized to the images and the hardware, with local crops.

    Few prototypes and a quick teacher, as small data sets need.
    Command: `manyviews train dinov2 --data DIR`.
    """
    run = small_data.run(
        facts,
        name="dinov2",
        method=DINOv2Config(
            hidden=512,
            bottleneck=128,
            prototypes=512,
            batch_norm=True,
            patch_bottleneck=128,
            patch_prototypes=512,
            teacher_temperature=Ramp(0.04, 0.04),
            momentum=Cosine(0.96, 1.0),
            frozen_until=0.02,
        ),
        local=2,
        tokens=True,
        light=True,
        optim=Optim(name="adamw", lr=1e-3, lr_per=0, weight_decay=0.05, warmup=0.1, clip=3.0),
    )
    return small_data.half_masked(run)


def imagenet(facts: Facts) -> Run[DINOv2Config, Any, Any]:
    """The authors' short run, ViT-L/16 on ImageNet-1k: 81.6 kNN, 82.9 linear (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train dinov2-imagenet --data DIR`; a day on
    32 A100 (published). Source: facebookresearch/dinov2 README and
    dinov2/configs/train/vitl16_short.yaml, whose 100 epochs of 1250 steps of 2048 images pass the
    data 200 times. Its blur is the one that its code makes: of no first global view and of nine in
    ten second ones. What differs: docs/methods/dinov2.md.
    """
    seen = replace(photometric.DINO, scale=(0.32, 1.0), blur=(0.0, 0.9))
    lr = 4e-3 * math.sqrt(2048 / 1024)
    return Run(
        recipe="dinov2-imagenet",
        method=DINOv2Config(
            bottleneck=256,
            prototypes=65536,
            patch_prototypes=0,
            balance="center",
            teacher_temperature=Ramp(0.04, 0.07, fraction=30 / 100),
            momentum=Cosine(0.992, 1.0),
            frozen_until=1 / 100,
        ),
        encoders=authors.image(
            ViTConfig(
                name="vit_large_patch14_dinov2", patch=16, drop_path=0.3, interpolation="dinov2"
            )
        ),
        views=struct(
            "Views",
            {
                "global": masked(seen),
                "local": replace(photometric.DINO_LOCAL, scale=(0.05, 0.32)),
            },
        ),
        data=authors.data(facts, batch_size=2048),
        optim=Optim(
            name="adamw",
            lr=lr,
            lr_per=0,
            lr_end=1e-6 / lr,
            weight_decay=0.04,
            weight_decay_end=0.4,
            warmup=10 / 100,
            clip=3.0,
            layer_decay=0.9,
        ),
        train=Train(epochs=200),
    )
