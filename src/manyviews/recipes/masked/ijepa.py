"""I-JEPA: for your own data, and as the authors trained it on ImageNet."""

from typing import Any

from manyviews.core.schedules import Ramp
from manyviews.core.settings import struct
from manyviews.encoders.settings import ViTConfig
from manyviews.methods.masked.ijepa import IJEPAConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.image.blocks import Blocks


def small(facts: Facts) -> Run[IJEPAConfig, Any, Any]:
    """Your own data, sized to the images and the hardware, with a quick target encoder.

    Command: `manyviews train ijepa --data DIR`.
    """
    views = Blocks(scale=(0.3, 1.0), jitter=0.0, grey=0.0, blur=(0.0,))
    encoder = small_data.encoder_of(facts, tokens=True, masked=True)
    return Run(
        recipe="ijepa",
        method=IJEPAConfig(width=96, depth=3, heads=3, momentum=Ramp(0.99, 1.0, fraction=1.0)),
        encoders=struct("Encoders", {"image": encoder}),
        views=struct("Views", {"global": views}),
        data=small_data.data(facts),
        optim=Optim(name="adamw", lr=1e-3, weight_decay=0.05, warmup=0.05),
        train=small_data.duration(facts),
    )


def imagenet(facts: Facts) -> Run[IJEPAConfig, Any, Any]:
    """The authors' ViT-H/14 on ImageNet: 79.3 % linear (published).

    Command: `torchrun --nproc-per-node 16 -m manyviews train ijepa-imagenet --data DIR`; 300
    epochs. Source: facebookresearch/ijepa configs/in1k_vith14_ep300.yaml.
    """
    views = Blocks(scale=(0.3, 1.0), flip=0.0, jitter=0.0, grey=0.0, blur=(0.0,))
    return Run(
        recipe="ijepa-imagenet",
        method=IJEPAConfig(),
        encoders=authors.image(
            ViTConfig(name="vit_huge_patch14_gap_224", positions="sincos", pool="mean")
        ),
        views=struct("Views", {"global": views}),
        data=authors.data(facts, batch_size=2048),
        optim=Optim(
            name="adamw",
            lr=1e-3,
            lr_per=0,
            lr_start=2e-4 / 1e-3,
            lr_end=1e-6 / 1e-3,
            weight_decay=0.04,
            weight_decay_end=0.4,
            warmup=40 / 300,
        ),
        train=Train(epochs=300),
    )
