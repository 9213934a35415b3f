"""DeepCluster, the first version: for your own data, and with the authors' numbers on ImageNet."""

from dataclasses import replace
from typing import Any

from manyviews.core.settings import parts, struct
from manyviews.methods.clustering.deepcluster_v1 import DeepClusterV1Config
from manyviews.recipes import imagenet as authors
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.plan import Crops


def small(facts: Facts) -> Run[DeepClusterV1Config, Any, Any]:
    """Your own data, sized to the images and the hardware, one view a sample.

    At most one cluster for every eight samples, which k-means can fill.
    Command: `manyviews train deepcluster-v1 --data DIR`.
    """
    most = max(2, min(300, facts.count // 8))
    run = small_data.run(
        facts, name="deepcluster-v1", method=DeepClusterV1Config(clusters=most, components=64)
    )
    crops = parts(run.views)["global"]
    return replace(run, views=struct("Views", {"global": replace(crops, count=1)}))


def imagenet(facts: Facts) -> Run[DeepClusterV1Config, Any, Any]:
    """The authors' numbers for a ResNet-50, where they have an AlexNet: no accuracy is published.

    Command: `torchrun --nproc-per-node 8 -m manyviews train deepcluster-v1-imagenet --data DIR`.
    Source: facebookresearch/deepcluster main.sh, main.py and clustering.py (batch 256, SGD at a
    constant 0.05, 10,000 clusters). Their fixed Sobel filter before the network is left out.
    """
    crops = Crops(count=1, jitter=0.0, grey=0.0, blur=(0.0,))
    return Run(
        recipe="deepcluster-v1-imagenet",
        method=DeepClusterV1Config(),
        encoders=authors.resnet50(zero_init=False),
        views=struct("Views", {"global": crops}),
        data=authors.data(facts, batch_size=256),
        optim=Optim(name="sgd", lr=0.05, lr_per=0, lr_end=1.0, weight_decay=1e-5, decay_all=True),
        train=Train(epochs=200),
    )
