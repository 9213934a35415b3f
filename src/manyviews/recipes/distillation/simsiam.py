"""SimSiam: for your own data, and as the authors trained it on ImageNet."""

from typing import Any

from manyviews.core.settings import struct
from manyviews.methods.distillation.simsiam import SimSiamConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import photometric, small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train


def small(facts: Facts) -> Run[SimSiamConfig, Any, Any]:
    """Your own data, sized to the images and the hardware.

    Command: `manyviews train simsiam --data DIR`.
    """
    return small_data.run(
        facts,
        name="simsiam",
        method=SimSiamConfig(hidden=512, out=512, bottleneck=128),
    )


def imagenet(facts: Facts) -> Run[SimSiamConfig, Any, Any]:
    """The authors' ResNet-50 on ImageNet: 68.1 % linear top-1 after 100 epochs (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train simsiam-imagenet --data DIR`.
    Source: facebookresearch/simsiam README and main_simsiam.py, with --fix-pred-lr.
    """
    return Run(
        recipe="simsiam-imagenet",
        method=SimSiamConfig(),
        encoders=authors.resnet50(),
        views=struct("Views", {"global": photometric.MOCO_V2}),
        data=authors.data(facts, batch_size=512),
        optim=Optim(name="sgd", lr=0.05, weight_decay=1e-4, decay_all=True, by_epoch=True),
        train=Train(epochs=100),
    )
