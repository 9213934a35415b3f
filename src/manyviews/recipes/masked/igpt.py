"""iGPT: for your own data, and as the authors trained the smallest on ImageNet."""

from dataclasses import replace
from typing import Any

from manyviews.core.inputs import Pixels
from manyviews.core.settings import struct
from manyviews.encoders.settings import RasterConfig
from manyviews.methods.masked.igpt import IGPTConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.plan import Crops

SIDE = 16
"""In pixels, without a GPU: each pixel is a token."""
_EPOCH = 10_009 / 1_000_000
"""Of ImageNet's 1,281,167 images in batches of 128, as a share of the training."""


def small(facts: Facts) -> Run[IGPTConfig, Any, Any]:
    """Your own data, brought to few pixels and few colours.

    Command: `manyviews train igpt --data DIR`, and then `manyviews evaluate RUN --data LABELLED
    --layer best`: features are better in the middle than at the end.
    """
    encoder = facts.encoder or _encoder(facts)
    views = Crops(count=1, scale=(0.5, 1.0), jitter=0.0, grey=0.0, blur=(0.0,))
    return Run(
        recipe="igpt",
        method=IGPTConfig(),
        encoders=struct("Encoders", {"image": encoder}),
        views=struct("Views", {"global": views}),
        data=small_data.data(facts, largest=64 if facts.device == "cpu" else 128),
        optim=Optim(
            name="adam", lr=3e-3, lr_per=0, weight_decay=0.0, betas=(0.9, 0.95), warmup=0.05
        ),
        train=small_data.duration(facts),
    )


def _encoder(facts: Facts) -> RasterConfig:
    fed = small_data.fed(facts)
    if facts.device != "cpu":
        colours = 512 if facts.channels > 1 else 64
        return RasterConfig(input=replace(fed, side=32), colours=colours, width=256, depth=12)
    colours = 64 if facts.channels > 1 else 16
    return RasterConfig(input=replace(fed, side=SIDE), colours=colours, width=96, depth=6, heads=3)


def imagenet(facts: Facts) -> Run[IGPTConfig, Any, Any]:
    """The authors' iGPT-S on ImageNet: 41.9 % linear after the best block (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train igpt-imagenet --data DIR`; a million
    steps. Sources: openai/image-gpt; Chen et al. 2020, sections 3 and 4.4.
    """
    crop = ((224 / 384) ** 2, (224 / 256) ** 2)
    views = Crops(
        count=1,
        scale=crop,
        ratio=(1.0, 1.0),
        flip=0.0,
        interpolation="bicubic",
        jitter=0.0,
        grey=0.0,
        blur=(0.0,),
    )
    return Run(
        recipe="igpt-imagenet",
        method=IGPTConfig(),
        encoders=authors.image(RasterConfig(input=Pixels(side=32))),
        views=struct("Views", {"global": views}),
        data=authors.data(facts, batch_size=128),
        optim=Optim(
            name="adam", lr=3e-3, lr_per=0, weight_decay=0.0, betas=(0.9, 0.95), warmup=_EPOCH
        ),
        train=Train(steps=1_000_000),
    )
