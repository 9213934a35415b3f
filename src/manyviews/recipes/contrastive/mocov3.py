"""MoCo v3: for your own data, and as the authors trained it on ImageNet."""

from dataclasses import replace
from typing import Any

from manyviews.core.schedules import Cosine
from manyviews.core.settings import struct
from manyviews.encoders import ViTConfig
from manyviews.methods.contrastive.mocov3 import MoCoV3Config
from manyviews.recipes import imagenet as authors
from manyviews.recipes import photometric, small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train


def small(facts: Facts) -> Run[MoCoV3Config, Any, Any]:
    """Your own data, sized to the images and the hardware.

    Command: `manyviews train mocov3 --data DIR`.
    """
    return small_data.run(
        facts,
        name="mocov3",
        method=MoCoV3Config(temperature=0.2, hidden=1024, out=128),
    )


def imagenet(facts: Facts) -> Run[MoCoV3Config, Any, Any]:
    """The authors' ResNet-50 on ImageNet: 74.6 % linear top-1 after 1000 epochs (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train mocov3-imagenet --data DIR`; theirs on
    16 GPUs of 32 GB. Source: facebookresearch/moco-v3 CONFIG.md, main_moco.py.
    """
    views = replace(photometric.BARLOW, scale=(0.2, 1.0), interpolation="bilinear")
    return Run(
        recipe="mocov3-imagenet",
        method=MoCoV3Config(momentum=Cosine(0.996, 1.0)),
        encoders=authors.resnet50(),
        views=struct("Views", {"global": views}),
        data=authors.data(facts, batch_size=4096),
        optim=Optim(name="lars", lr=0.3, weight_decay=1.5e-6, warmup=10 / 1000),
        train=Train(epochs=1000),
    )


def vit_imagenet(facts: Facts) -> Run[MoCoV3Config, Any, Any]:
    """The authors' ViT-S/16 of 12 heads: 73.2 % linear top-1 after 300 epochs (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train mocov3-vit-imagenet --data DIR`; theirs
    on 32 GPUs of 32 GB. Source: facebookresearch/moco-v3 CONFIG.md, vits.py.
    """
    return Run(
        recipe="mocov3-vit-imagenet",
        method=MoCoV3Config(temperature=0.2, layers=3, predictor_norm=True, frozen_patches=True),
        encoders=authors.image(
            ViTConfig(name="vit_small_patch16_224", heads=12, positions="sincos")
        ),
        views=struct("Views", {"global": replace(photometric.BARLOW, interpolation="bilinear")}),
        data=authors.data(facts, batch_size=4096),
        optim=Optim(name="adamw", lr=1.5e-4, weight_decay=0.1, decay_all=True, warmup=40 / 300),
        train=Train(epochs=300),
    )
