"""MoCo v2: for your own data, and as the authors trained it on ImageNet."""

from typing import Any

from manyviews.core.schedules import Cosine
from manyviews.core.settings import struct
from manyviews.methods.contrastive.moco import MoCoConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import photometric, small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train


def small(facts: Facts) -> Run[MoCoConfig, Any, Any]:
    """Your own data, sized to the images and the hardware.

    Symmetric and with a small queue, as the authors' CIFAR notebook.
    Command: `manyviews train moco --data DIR`. Accuracy on `builtin:fashion`: docs/results.md.
    """
    return small_data.run(
        facts,
        name="moco",
        method=MoCoConfig(
            temperature=0.2,
            queue=4096,
            momentum=Cosine(0.99, 0.99),
            hidden=512,
            out=128,
            norm_groups=4,
            symmetric=True,
        ),
    )


def imagenet(facts: Facts) -> Run[MoCoConfig, Any, Any]:
    """The authors' ResNet-50 on ImageNet: 67.5 % linear top-1 after 200 epochs (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train moco-imagenet --data DIR`; 53 hours
    on 8 V100 (published). Source: facebookresearch/moco main_moco.py at 132aea9, README.
    """
    return Run(
        recipe="moco-imagenet",
        method=MoCoConfig(),
        encoders=authors.resnet50(zero_init=False),
        views=struct("Views", {"global": photometric.MOCO_V2}),
        data=authors.data(facts, batch_size=256),
        optim=Optim(name="sgd", lr=0.03, weight_decay=1e-4, decay_all=True, by_epoch=True),
        train=Train(epochs=200),
    )
