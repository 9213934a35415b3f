"""VISReg: for your own data, and on ImageNet as lightly-ai/lightly trains it."""

from dataclasses import replace
from typing import Any

from manyviews.core.settings import struct
from manyviews.encoders.settings import ViTConfig
from manyviews.methods.redundancy.visreg import VISRegConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.plan import Crops


def small(facts: Facts) -> Run[VISRegConfig, Any, Any]:
    """Your own data, sized to the images and the hardware, with the paper's weight for few images.

    Command: `manyviews train visreg --data DIR`.
    """
    return small_data.run(
        facts,
        name="visreg",
        method=VISRegConfig(gaussian=0.6, lines=256, hidden=512, out=128),
        local=2,
    )


def imagenet(facts: Facts) -> Run[VISRegConfig, Any, Any]:
    """A ViT-S/16 on ImageNet, 100 epochs; no accuracy is published for it.

    Command: `torchrun --nproc-per-node 4 -m manyviews train visreg-imagenet --data DIR`. Source:
    lightly-ai/lightly benchmarks/imagenet/vitb16/visreg.py; the authors' own code is under a
    licence against commercial use and was not looked at.
    """
    seen = Crops(
        count=4,
        scale=(0.3, 1.0),
        interpolation="bicubic",
        brightness=0.4,
        contrast=0.4,
        saturation=0.2,
        hue=0.1,
        solarize=(0.2,),
    )
    return Run(
        recipe="visreg-imagenet",
        method=VISRegConfig(lines=2048),
        encoders=authors.image(ViTConfig(name="vit_small_patch16_224", drop_path=0.1)),
        views=struct(
            "Views", {"global": seen, "local": replace(seen, count=6, size=96, scale=(0.05, 0.3))}
        ),
        data=authors.data(facts, batch_size=512),
        optim=Optim(
            name="adamw",
            lr=9e-4,
            lr_per=0,
            lr_start=0.01,
            lr_end=0.001,
            warmup=1 / 100,
            weight_decay=0.05,
            decay_all=True,
        ),
        train=Train(epochs=100),
    )
