"""SimMIM: for your own data, and as the authors trained it on ImageNet."""

from typing import Any

from manyviews.core.settings import struct
from manyviews.encoders.settings import ViTConfig
from manyviews.methods.masked.simmim import SimMIMConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.plan import Crops, Mask


def small(facts: Facts) -> Run[SimMIMConfig, Any, Any]:
    """Your own data, sized to the images and the hardware.

    Command: `manyviews train simmim --data DIR`.
    """
    return small_data.masked(
        facts, name="simmim", method=SimMIMConfig(), mask=Mask(ratio=0.6), scale=(0.67, 1.0)
    )


def imagenet(facts: Facts) -> Run[SimMIMConfig, Any, Any]:
    """The authors' ViT-B/16 on ImageNet: 83.8 % fine-tuned (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train simmim-imagenet --data DIR`; 800
    epochs. Source: microsoft/SimMIM configs/vit_base__800ep; what differs: docs/methods/simmim.md.
    """
    views = Crops(
        count=1,
        scale=(0.67, 1.0),
        jitter=0.0,
        grey=0.0,
        blur=(0.0,),
        mask=Mask(ratio=0.6, unit=2),
    )
    return Run(
        recipe="simmim-imagenet",
        method=SimMIMConfig(),
        encoders=authors.image(
            ViTConfig(
                name="vit_base_patch16_224",
                positions="sincos",
                pool="mean",
                drop_path=0.1,
                class_token=0.02,
            )
        ),
        views=struct("Views", {"global": views}),
        data=authors.data(facts, batch_size=2048),
        optim=Optim(
            name="adamw",
            lr=1e-4,
            lr_per=512,
            lr_start=5e-7 / 1e-4,
            weight_decay=0.05,
            warmup=10 / 800,
            clip=5.0,
        ),
        train=Train(epochs=800),
    )
