"""DINO: for your own data, and as the authors trained it on ImageNet."""

from typing import Any

from manyviews.core.schedules import Cosine, Ramp
from manyviews.core.settings import struct
from manyviews.encoders.settings import ViTConfig
from manyviews.methods.distillation.dino import DINOConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import photometric, small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train


def small(facts: Facts) -> Run[DINOConfig, Any, Any]:
    """Your own data, sized to the images and the hardware, with local crops.

    Few prototypes and a quick teacher, as small data sets need.
    Command: `manyviews train dino --data DIR`. Accuracy on `builtin:fashion`: docs/results.md.
    """
    return small_data.run(
        facts,
        name="dino",
        method=DINOConfig(
            hidden=512,
            bottleneck=128,
            prototypes=512,
            batch_norm=True,
            teacher_temperature=Ramp(0.04, 0.04),
            momentum=Cosine(0.99, 1.0),
            frozen_until=0.02,
        ),
        local=2,
        tokens=facts.device != "cpu",
    )


def imagenet(facts: Facts) -> Run[DINOConfig, Any, Any]:
    """The authors' ViT-S/16 on ImageNet: 69.3 kNN, 74.0 linear after 100 epochs (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train dino-imagenet --data DIR`; 1.75 days
    on 8 V100 (published). Source: facebookresearch/dino README and main_dino.py, vanilla run.
    """
    return Run(
        recipe="dino-imagenet",
        method=DINOConfig(
            teacher_temperature=Ramp(0.04, 0.04), frozen_until=1 / 100, momentum=Cosine(0.996, 1.0)
        ),
        encoders=authors.image(
            ViTConfig(
                name="vit_small_patch16_224",
                drop_path=0.1,
                interpolation="dino",
                class_token=0.02,
            )
        ),
        views=struct("Views", {"global": photometric.DINO, "local": photometric.DINO_LOCAL}),
        data=authors.data(facts, batch_size=512),
        optim=Optim(
            name="adamw",
            lr=5e-4,
            lr_end=1e-6 / 1e-3,
            weight_decay=0.04,
            weight_decay_end=0.4,
            warmup=10 / 100,
            clip=3.0,
            clip_each=True,
        ),
        train=Train(epochs=100),
    )
