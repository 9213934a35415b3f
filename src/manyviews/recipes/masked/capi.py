"""CAPI: for your own data, and as the authors trained it on ImageNet."""

from dataclasses import replace
from typing import Any

from manyviews.core.schedules import WarmupCosine
from manyviews.core.settings import struct
from manyviews.encoders.settings import ViTConfig
from manyviews.methods.masked.capi import CAPIConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import photometric, small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.plan import Mask

_LAST = 0.09549150281252629
"""Where half a cosine stands after four fifths of its way, (1 + cos 0.8 pi) / 2."""


def small(facts: Facts) -> Run[CAPIConfig, Any, Any]:
    """Your own data, sized to the images and the hardware, with few clusters and a quick teacher.

    Command: `manyviews train capi --data DIR`.
    """
    return small_data.masked(
        facts,
        name="capi",
        method=CAPIConfig(
            prototypes=512,
            width=96,
            depth=3,
            heads=3,
            predicted=0.5,
            momentum=WarmupCosine(0.99, 1.0, 0.1, 1.0),
        ),
        mask=Mask(ratio=0.65, kind="around"),
    )


def imagenet(facts: Facts) -> Run[CAPIConfig, Any, Any]:
    """The authors' ViT-L/14 on ImageNet: 82.9 % by an attentive probe (published).

    Command: `torchrun --nproc-per-node 32 -m manyviews train capi-imagenet --data DIR`; 500000
    steps of 16384 images. Source: facebookresearch/capi default_pretrain_config.yaml, README.md.
    """
    # Of 256 places 166 are hidden, as the authors round down.
    mask = Mask(ratio=166 / 256, kind="around")
    return Run(
        recipe="capi-imagenet",
        method=CAPIConfig(momentum=WarmupCosine(0.999, 1 - 0.001 * _LAST, 0.1, 1.0)),
        encoders=authors.image(
            ViTConfig(name="vit_large_patch14_224", positions="sincos", pool="mean", drop_path=0.2)
        ),
        views=struct("Views", {"global": replace(photometric.MAE, scale=(0.6, 1.0), mask=mask)}),
        data=authors.data(facts, batch_size=16384),
        optim=Optim(
            name="adamw",
            lr=1e-3,
            lr_per=0,
            lr_end=_LAST,
            weight_decay=0.1,
            betas=(0.9, 0.95),
            warmup=0.1,
        ),
        train=Train(epochs=6394),
    )
