"""NPID: for your own data; NPID++ as its authors trained it on ImageNet."""

from dataclasses import replace
from typing import Any

from manyviews.core.settings import parts, struct
from manyviews.methods.contrastive.npid import NPIDConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.plan import Crops


def small(facts: Facts) -> Run[NPIDConfig, Any, Any]:
    """Your own data, sized to the images and the hardware.

    InfoNCE and a head of two layers. A bank row is met once an epoch: rows begin filled, and a
    quarter of other recipes' rate lets them keep up (docs/methods/npid.md).
    Command: `manyviews train npid --data DIR`.
    """
    run = small_data.run(
        facts,
        name="npid",
        method=NPIDConfig(
            loss="info_nce",
            temperature=0.2,
            negatives=min(4096, facts.count),
            hidden=512,
            filled=True,
        ),
        optim=small_data.of_banks(),
    )
    crops = parts(run.views)["global"]
    return replace(run, views=struct("Views", {"global": replace(crops, count=1)}))


def plus_imagenet(facts: Facts) -> Run[NPIDConfig, Any, Any]:
    """NPID++, ResNet-50 on ImageNet: 56.68 % linear top-1 after 800 epochs (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train npidpp-imagenet --data DIR`.
    Source: facebookresearch/vissl configs/config/pretrain/npid/npid++_4nodes_resnet.yaml (batch
    1024, lr 0.12 by a cosine that is stepped once an epoch); the accuracy is in its MODEL_ZOO.md.
    """
    image = Crops(
        count=1,
        scale=(0.08, 1.0),
        jitter=1.0,
        brightness=0.4,
        contrast=0.4,
        saturation=0.4,
        hue=0.4,
        grey=0.0,
        blur=(0.0,),
    )
    return Run(
        recipe="npidpp-imagenet",
        method=NPIDConfig(negatives=32000),
        encoders=authors.resnet50(zero_init=False),
        views=struct("Views", {"global": image}),
        data=authors.data(facts, batch_size=1024),
        optim=Optim(name="sgd", lr=0.03, lr_end=0.001, weight_decay=1e-4, by_epoch=True),
        train=Train(epochs=800),
    )
