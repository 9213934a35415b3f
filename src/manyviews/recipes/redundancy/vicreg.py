"""VICReg: for your own data, and as the authors trained it on ImageNet."""

from typing import Any

from manyviews.core.settings import struct
from manyviews.methods.redundancy.vicreg import VICRegConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import photometric, small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train


def small(facts: Facts) -> Run[VICRegConfig, Any, Any]:
    """Your own data, sized to the images and the hardware.

    Command: `manyviews train vicreg --data DIR`. Accuracy on `builtin:fashion`: docs/results.md.
    """
    return small_data.run(
        facts,
        name="vicreg",
        method=VICRegConfig(hidden=512, out=512),
    )


def imagenet(facts: Facts) -> Run[VICRegConfig, Any, Any]:
    """The authors' ResNet-50 on ImageNet: 73.2 % linear top-1 after 1000 epochs (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train vicreg-imagenet --data DIR`.
    Source: facebookresearch/vicreg main_vicreg.py, README.
    """
    return Run(
        recipe="vicreg-imagenet",
        method=VICRegConfig(),
        encoders=authors.resnet50(),
        views=struct("Views", {"global": photometric.BARLOW}),
        data=authors.data(facts, batch_size=2048),
        optim=Optim(name="lars", lr=0.2, lr_end=0.001, weight_decay=1e-6, warmup=10 / 1000),
        train=Train(epochs=1000),
    )
