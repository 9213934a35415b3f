"""SeLa-v2: for your own data, and as the authors of SwAV trained it on ImageNet."""

from dataclasses import replace
from typing import Any

from manyviews.core.settings import struct
from manyviews.methods.clustering.sela_v2 import SeLaV2Config
from manyviews.recipes import imagenet as authors
from manyviews.recipes import photometric, small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train


def small(facts: Facts) -> Run[SeLaV2Config, Any, Any]:
    """Your own data, sized to the images and the hardware, with local crops.

    At most one class for every eight samples. Command: `manyviews train sela-v2 --data DIR`.
    """
    most = max(2, min(300, facts.count // 8))
    return small_data.run(
        facts,
        name="sela-v2",
        method=SeLaV2Config(hidden=512, prototypes=(most, most, most), frozen_until=0.02),
        local=2,
    )


def imagenet(facts: Facts) -> Run[SeLaV2Config, Any, Any]:
    """A ResNet-50 on ImageNet, crops 2 x 160 + 4 x 96: 71.8 % linear top-1 (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train sela-v2-imagenet --data DIR`. Its
    training code is not public. Source: arXiv:2006.09882, appendices A and D, which gives it SwAV's
    hyper-parameters, and the script of its sister, facebookresearch/swav
    scripts/deepclusterv2_400ep_pretrain.sh (batch 4096).
    """
    images = replace(photometric.SWAV, size=160, scale=(0.08, 1.0))
    local = replace(photometric.SWAV_LOCAL, count=4)
    return Run(
        recipe="sela-v2-imagenet",
        method=SeLaV2Config(frozen_until=1 / 400),
        encoders=authors.resnet50(zero_init=False),
        views=struct("Views", {"global": images, "local": local}),
        data=authors.data(facts, batch_size=4096),
        optim=Optim(
            name="larc",
            lr=0.3,
            lr_start=0.3 / 4.8,
            lr_end=0.001,
            weight_decay=1e-6,
            warmup=10 / 400,
            decay_all=True,
        ),
        train=Train(epochs=400),
    )
