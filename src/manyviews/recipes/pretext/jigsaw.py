"""Jigsaw: for your own data, and as a ResNet-50 was trained on ImageNet."""

from dataclasses import replace
from typing import Any

from manyviews.core.settings import parts, struct
from manyviews.methods.pretext.jigsaw import JigsawConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.image.tiles import Tiles


def small(facts: Facts) -> Run[JigsawConfig, Any, Any]:
    """Your own data, sized to the images and the hardware, with 100 orders of the tiles.

    Tiles keep left and right, which the order is about. Command: `manyviews train jigsaw
    --data DIR`.
    """
    run = small_data.run(facts, name="jigsaw", method=JigsawConfig(permutations=100, hidden=128))
    crops, side = parts(run.views)["global"], parts(run.encoders)["image"].input.side
    tiles = replace(small_data.tiles(crops, side=side), flip=0.0)
    return replace(run, views=struct("Views", {"tiles": tiles}))


def imagenet(facts: Facts) -> Run[JigsawConfig, Any, Any]:
    """A ResNet-50 on ImageNet, 2000 orders: 46.7 % linear top-1 (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train jigsaw-imagenet --data DIR`.
    Source: facebookresearch/vissl configs/config/pretrain/jigsaw/jigsaw_8gpu_resnet.yaml (batch
    256). They divide the learning rate by 10 after 30, 60, 90 and 100 epochs, where this is a
    cosine; images are flipped and made grey as a whole, here tiles are made grey, each by itself.
    """
    tiles = Tiles(scale=(0.7, 1.0), flip=0.0, jitter=0.0, grey=0.66)
    return Run(
        recipe="jigsaw-imagenet",
        method=JigsawConfig(standardise=False),
        encoders=authors.resnet50(zero_init=False),
        views=struct("Views", {"tiles": tiles}),
        data=authors.data(facts, batch_size=256),
        optim=Optim(
            name="sgd", lr=0.1, lr_start=0.25, warmup=5 / 105, by_epoch=True, weight_decay=1e-4
        ),
        train=Train(epochs=105),
    )
