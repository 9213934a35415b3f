"""SeLa: for your own data, and as the authors trained it on ImageNet."""

from dataclasses import replace
from typing import Any

from manyviews.core.settings import parts, struct
from manyviews.methods.clustering.sela import SeLaConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.plan import Crops


def small(facts: Facts) -> Run[SeLaConfig, Any, Any]:
    """Your own data, sized to the images and the hardware, one view a sample and three heads.

    At most one class for every eight samples. Command: `manyviews train sela --data DIR`.
    """
    most = max(2, min(300, facts.count // 8))
    run = small_data.run(facts, name="sela", method=SeLaConfig(clusters=most, heads=3))
    crops = parts(run.views)["global"]
    return replace(run, views=struct("Views", {"global": replace(crops, count=1)}))


def imagenet(facts: Facts) -> Run[SeLaConfig, Any, Any]:
    """The authors' ResNet-50 on ImageNet with ten heads: 61.5 % linear top-1 (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train sela-imagenet --data DIR`.
    Source: yukimasano/self-label scripts/resnet.sh, main.py and data.py (batch 256). They divide
    the learning rate by 10 every 150 epochs, where this is a cosine.
    """
    crops = Crops(
        count=1,
        scale=(0.08, 1.0),
        jitter=1.0,
        brightness=0.4,
        contrast=0.4,
        saturation=0.4,
        hue=0.4,
        grey=0.2,
        blur=(0.0,),
    )
    return Run(
        recipe="sela-imagenet",
        method=SeLaConfig(),
        encoders=authors.resnet50(zero_init=False),
        views=struct("Views", {"global": crops}),
        data=authors.data(facts, batch_size=256),
        optim=Optim(name="sgd", lr=0.08, lr_per=0, weight_decay=1e-5, decay_all=True),
        train=Train(epochs=400),
    )
