"""Barlow Twins: for your own data, and as the authors trained it on ImageNet."""

from typing import Any

from manyviews.core.settings import struct
from manyviews.methods.redundancy.barlow import BarlowTwinsConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import photometric, small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train


def small(facts: Facts) -> Run[BarlowTwinsConfig, Any, Any]:
    """Your own data, sized to the images and the hardware.

    Command: `manyviews train barlow --data DIR`. Accuracy on `builtin:fashion`: docs/results.md.
    """
    return small_data.run(
        facts,
        name="barlow",
        method=BarlowTwinsConfig(hidden=512, out=512),
    )


def imagenet(facts: Facts) -> Run[BarlowTwinsConfig, Any, Any]:
    """The authors' ResNet-50 on ImageNet: 73.5 % linear top-1 after 1000 epochs (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train barlow-imagenet --data DIR`; about 7
    days on 16 V100 (published). Source: facebookresearch/barlowtwins main.py. Their gradient is
    1/16 of the loss's (a plain all-reduce on 16 ranks), so their learning rate of 1-D tensors,
    0.0048, is given here as 0.0048 / 16, and their weight decay, 1e-6 beside that gradient, as
    16e-6; LARS makes the length of the weights' update free of that factor.
    """
    return Run(
        recipe="barlow-imagenet",
        method=BarlowTwinsConfig(),
        encoders=authors.resnet50(),
        views=struct("Views", {"global": photometric.BARLOW}),
        data=authors.data(facts, batch_size=2048),
        optim=Optim(
            name="lars",
            lr=0.2,
            lr_1d=0.0048 / 16,
            lr_end=0.001,
            weight_decay=16e-6,
            warmup=10 / 1000,
        ),
        train=Train(epochs=1000),
    )
