"""MaskFeat: for your own data, and as the authors trained it on ImageNet."""

from typing import Any

from manyviews.core.settings import struct
from manyviews.encoders.settings import ViTConfig
from manyviews.methods.masked.maskfeat import MaskFeatConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.plan import Crops, Mask


def small(facts: Facts) -> Run[MaskFeatConfig, Any, Any]:
    """Your own data, sized to the images and the hardware; a histogram a patch of small images.

    Command: `manyviews train maskfeat --data DIR`.
    """
    return small_data.masked(
        facts,
        name="maskfeat",
        method=MaskFeatConfig(cells=1 if facts.side <= 64 else 2),
        mask=Mask(ratio=0.4, kind="block"),
    )


def imagenet(facts: Facts) -> Run[MaskFeatConfig, Any, Any]:
    """The authors' ViT-B/16 on ImageNet, 300 epochs; 84.0 % fine-tuned after 1600 (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train maskfeat-imagenet --data DIR`.
    Source: facebookresearch/SlowFast configs/masked_ssl/in1k_VIT_B_MaskFeat_PT.yaml.
    """
    views = Crops(
        count=1,
        scale=(0.5, 1.0),
        interpolation="bicubic",
        jitter=0.0,
        grey=0.0,
        blur=(0.0,),
        mask=Mask(ratio=0.4, kind="block"),
    )
    return Run(
        recipe="maskfeat-imagenet",
        method=MaskFeatConfig(),
        encoders=authors.image(
            ViTConfig(name="vit_base_patch16_224", pool="mean", class_token=0.02)
        ),
        views=struct("Views", {"global": views}),
        data=authors.data(facts, batch_size=2048),
        optim=Optim(
            name="adamw",
            lr=2e-4,
            lr_start=1e-6 / 2e-4,
            lr_end=1e-6 / 2e-4,
            weight_decay=0.05,
            warmup=30 / 300,
            clip=0.02,
        ),
        train=Train(epochs=300),
    )
