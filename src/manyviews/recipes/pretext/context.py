"""Context prediction: for your own data, and as a ResNet-50 was trained on ImageNet."""

from dataclasses import replace
from typing import Any

from manyviews.core.settings import parts, struct
from manyviews.methods.pretext.context import ContextConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.image.tiles import Tiles


def small(facts: Facts) -> Run[ContextConfig, Any, Any]:
    """Your own data, sized to the images and the hardware.

    Tiles keep left and right, which the answer is about. Command: `manyviews train context
    --data DIR`.
    """
    run = small_data.run(facts, name="context", method=ContextConfig(hidden=512))
    crops, side = parts(run.views)["global"], parts(run.encoders)["image"].input.side
    tiles = replace(small_data.tiles(crops, side=side), flip=0.0)
    return replace(run, views=struct("Views", {"tiles": tiles}))


def imagenet(facts: Facts) -> Run[ContextConfig, Any, Any]:
    """A ResNet-50 on ImageNet, all eight pairs of every image: 40.4 % linear top-1 (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train context-imagenet --data DIR`.
    Source: open-mmlab/mmselfsup
    configs/selfsup/relative_loc/relative-loc_resnet50_8xb64-steplr-70e_in1k.py (batch 512). They
    divide the learning rate by 10 after 30 and 50 epochs, where this is a cosine, and decay the
    head five times as much; images are made grey as a whole, here tiles are, each by itself.
    """
    tiles = Tiles(scale=(0.6, 0.8), flip=0.0, jitter=0.0, grey=0.66)
    return Run(
        recipe="context-imagenet",
        method=ContextConfig(colour="keep"),
        encoders=authors.resnet50(zero_init=False),
        views=struct("Views", {"tiles": tiles}),
        data=authors.data(facts, batch_size=512),
        optim=Optim(
            name="sgd",
            lr=0.2,
            lr_per=0,
            lr_start=0.1,
            warmup=5 / 70,
            weight_decay=1e-4,
            decay_all=True,
        ),
        train=Train(epochs=70),
    )
