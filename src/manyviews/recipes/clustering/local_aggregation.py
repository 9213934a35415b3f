"""Local aggregation: for your own data, and as the authors trained it on ImageNet."""

from dataclasses import replace
from typing import Any

from manyviews.core.settings import parts, struct
from manyviews.methods.clustering.local_aggregation import LocalAggregationConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.plan import Crops


def small(facts: Facts) -> Run[LocalAggregationConfig, Any, Any]:
    """Your own data, sized to the images and the hardware, one view a sample.

    Three clusterings of at most one cluster for every sixteen samples, from a tenth of the training
    on. Command: `manyviews train local-aggregation --data DIR`.
    """
    most = max(2, min(1000, facts.count // 16))
    method = LocalAggregationConfig(
        clusters=(most, most, most),
        background=max(2, min(1024, facts.count // 8)),
        temperature=0.1,
        clusters_from=0.1,
        negatives=min(4096, facts.count),
        hidden=512,
        filled=True,
    )
    run = small_data.run(
        facts, name="local-aggregation", method=method, optim=small_data.of_banks()
    )
    crops = parts(run.views)["global"]
    return replace(run, views=struct("Views", {"global": replace(crops, count=1)}))


def imagenet(facts: Facts) -> Run[LocalAggregationConfig, Any, Any]:
    """The authors' ResNet-50 on ImageNet: 60.2 % linear top-1 after 200 epochs (published).

    Command: `torchrun --nproc-per-node 4 -m manyviews train local-aggregation-imagenet --data DIR`.
    Source: neuroailab/LocalAggregation exp_configs/la_final.json (res50_IR, res50_LA) and
    framework.py (batch 128). They divide the learning rate by 10 twice, where this is a cosine;
    the accuracy is the paper's.
    """
    crops = Crops(
        count=1,
        scale=(0.2, 1.0),
        jitter=1.0,
        brightness=0.4,
        contrast=0.4,
        saturation=0.4,
        hue=0.4,
        grey=0.2,
        blur=(0.0,),
    )
    return Run(
        recipe="local-aggregation-imagenet",
        method=LocalAggregationConfig(),
        encoders=authors.resnet50(zero_init=False),
        views=struct("Views", {"global": crops}),
        data=authors.data(facts, batch_size=128),
        optim=Optim(name="sgd", lr=0.03, lr_per=0, weight_decay=1e-4),
        train=Train(epochs=200),
    )
