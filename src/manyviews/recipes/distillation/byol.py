"""BYOL: for your own data, and as the authors trained it on ImageNet."""

from typing import Any

from manyviews.core.schedules import Cosine
from manyviews.core.settings import struct
from manyviews.methods.distillation.byol import BYOLConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import photometric, small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train


def small(facts: Facts) -> Run[BYOLConfig, Any, Any]:
    """Your own data, sized to the images and the hardware.

    Command: `manyviews train byol --data DIR`. Accuracy on `builtin:fashion`: docs/results.md.
    """
    return small_data.run(
        facts,
        name="byol",
        method=BYOLConfig(momentum=Cosine(0.99, 1.0), hidden=1024, out=128),
    )


def imagenet(facts: Facts) -> Run[BYOLConfig, Any, Any]:
    """The authors' ResNet-50 on ImageNet: 74.4 % linear top-1 after 1000 epochs (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train byol-imagenet --data DIR`.
    Source: deepmind/deepmind-research byol/configs/byol.py.
    """
    return Run(
        recipe="byol-imagenet",
        method=BYOLConfig(),
        encoders=authors.resnet50(),
        views=struct("Views", {"global": photometric.BYOL}),
        data=authors.data(facts, batch_size=4096),
        optim=Optim(name="lars", lr=0.2, weight_decay=1.5e-6, warmup=10 / 1000),
        train=Train(epochs=1000),
    )
