"""SwAV: for your own data, and as the authors trained it on ImageNet."""

from typing import Any

from manyviews.core.settings import struct
from manyviews.methods.clustering.swav import SwAVConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import photometric, small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train


def small(facts: Facts) -> Run[SwAVConfig, Any, Any]:
    """Your own data, sized to the images and the hardware, with local crops.

    Command: `manyviews train swav --data DIR`. Accuracy on `builtin:fashion`: docs/results.md.
    """
    return small_data.run(
        facts,
        name="swav",
        method=SwAVConfig(hidden=512, out=128, prototypes=300, queue=0, frozen_until=0.02),
        local=2,
    )


def imagenet(facts: Facts) -> Run[SwAVConfig, Any, Any]:
    """The authors' ResNet-50 on ImageNet: 75.3 % linear top-1 after 800 epochs (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train swav-imagenet --data DIR`.
    Source: facebookresearch/swav scripts/swav_800ep_pretrain.sh (batch 4096, prototypes fixed for
    313 steps = one epoch). They normalise with a standard deviation of 0.228, a slip kept out here.
    """
    return Run(
        recipe="swav-imagenet",
        method=SwAVConfig(queue=0, frozen_until=1 / 800),
        encoders=authors.resnet50(zero_init=False),
        views=struct("Views", {"global": photometric.SWAV, "local": photometric.SWAV_LOCAL}),
        data=authors.data(facts, batch_size=4096),
        optim=Optim(
            name="larc",
            lr=0.3,
            lr_start=0.3 / 4.8,
            lr_end=0.001,
            weight_decay=1e-6,
            warmup=10 / 800,
            decay_all=True,
        ),
        train=Train(epochs=800),
    )
