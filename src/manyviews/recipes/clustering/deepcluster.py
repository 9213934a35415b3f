"""DeepCluster-v2: for your own data, and as the authors trained it on ImageNet."""

from typing import Any

from manyviews.core.settings import struct
from manyviews.methods.clustering.deepcluster import DeepClusterConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import photometric, small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train


def small(facts: Facts) -> Run[DeepClusterConfig, Any, Any]:
    """Your own data, sized to the images and the hardware, with local crops.

    At most one cluster for every eight samples, which k-means can fill.
    Command: `manyviews train deepcluster --data DIR`. Accuracy on `builtin:fashion`:
    docs/results.md.
    """
    most = max(2, min(300, facts.count // 8))
    return small_data.run(
        facts,
        name="deepcluster",
        method=DeepClusterConfig(hidden=512, out=128, prototypes=(most, most, most)),
        local=2,
    )


def imagenet(facts: Facts) -> Run[DeepClusterConfig, Any, Any]:
    """The authors' ResNet-50 on ImageNet: 75.2 % linear top-1 after 800 epochs (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train deepcluster-imagenet --data DIR`.
    Source: facebookresearch/swav scripts/deepclusterv2_800ep_pretrain.sh (batch 4096). They
    normalise with a standard deviation of 0.228, a slip kept out here.
    """
    return Run(
        recipe="deepcluster-imagenet",
        method=DeepClusterConfig(),
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
