"""PCL: for your own data, and as the authors trained it on ImageNet."""

from typing import Any

from manyviews.core.schedules import Cosine
from manyviews.core.settings import struct
from manyviews.methods.contrastive.pcl import PCLConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import photometric, small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train


def small(facts: Facts) -> Run[PCLConfig, Any, Any]:
    """Your own data, sized to the images and the hardware.

    Three clusterings, the finest of at most one cluster for every eight samples, from a tenth of
    the training on. Command: `manyviews train pcl --data DIR`.
    """
    most = max(8, min(1000, facts.count // 8))
    return small_data.run(
        facts,
        name="pcl",
        method=PCLConfig(
            queue=4096,
            momentum=Cosine(0.99, 0.99),
            hidden=512,
            prototypes=(most // 4, most // 2, most),
            negatives=most,
            norm_groups=4,
        ),
    )


def imagenet(facts: Facts) -> Run[PCLConfig, Any, Any]:
    """The authors' ResNet-50 on ImageNet, v2: 67.6 % linear top-1 after 200 epochs (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train pcl-imagenet --data DIR`. Source:
    salesforce/PCL main_pcl.py and README, with --mlp, --aug-plus and --cos.
    """
    return Run(
        recipe="pcl-imagenet",
        method=PCLConfig(),
        encoders=authors.resnet50(zero_init=False),
        views=struct("Views", {"global": photometric.MOCO_V2}),
        data=authors.data(facts, batch_size=256),
        optim=Optim(name="sgd", lr=0.03, weight_decay=1e-4, decay_all=True, by_epoch=True),
        train=Train(epochs=200),
    )
