"""AMDIM: for your own data, and on ImageNet with the authors' objective, views and optimiser."""

from dataclasses import replace
from typing import Any

from manyviews.core.settings import struct
from manyviews.methods.contrastive.amdim import AMDIMConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.plan import Crops


def small(facts: Facts) -> Run[AMDIMConfig, Any, Any]:
    """Your own data, sized to the images and the hardware, in batches of 64 at the most.

    Command: `manyviews train amdim --data DIR`.
    """
    run = small_data.run(facts, name="amdim", method=AMDIMConfig(out=256))
    return replace(run, data=replace(run.data, batch_size=min(64, run.data.batch_size)))


def imagenet(facts: Facts) -> Run[AMDIMConfig, Any, Any]:
    """A ResNet-50 on ImageNet for 50 epochs.

    The authors' 68.1 % (published) are of a network of their own, ten times as wide and without
    padding. Command: `torchrun --nproc-per-node 4 -m manyviews train amdim-imagenet --data DIR`.
    Source: Philip-Bachman/amdim-public train.py, task_self_supervised.py, datasets.py. Their rate
    falls to a fifth after 30 and 45 epochs; here by a cosine.
    """
    crops = Crops(
        scale=(0.3, 1.0),
        ratio=(0.7, 1.4),
        interpolation="bicubic",
        grey=0.25,
        blur=(0.0,),
    )
    return Run(
        recipe="amdim-imagenet",
        method=AMDIMConfig(),
        encoders=authors.resnet50(),
        views=struct("Views", {"global": crops}),
        data=authors.data(facts, batch_size=200),
        optim=Optim(
            name="adam",
            lr=2e-4,
            lr_per=0,
            betas=(0.8, 0.999),
            weight_decay=1e-5,
            decay_all=True,
            warmup=500 / (50 * (1_281_167 // 200)),
        ),
        train=Train(epochs=50),
    )
