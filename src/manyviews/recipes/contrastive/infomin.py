"""InfoMin's views for MoCo: for your own data, and as the authors trained on ImageNet."""

from dataclasses import replace
from typing import Any

from manyviews.core.settings import parts, struct
from manyviews.methods.contrastive.moco import MoCoConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes.contrastive import moco
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.image.augmented import Augmented


def small(facts: Facts) -> Run[MoCoConfig, Any, Any]:
    """Your own data, sized to the images and the hardware, with two more operations on each view.

    Command: `manyviews train infomin --data DIR`.
    """
    run = moco.small(facts)
    views = {"global": Augmented(**vars(parts(run.views)["global"]))}
    return replace(
        run,
        recipe="infomin",
        method=replace(run.method, temperature=0.15),
        views=struct("Views", views),
    )


def imagenet(facts: Facts) -> Run[MoCoConfig, Any, Any]:
    """A ResNet-50 on ImageNet, 200 epochs: 70.1 % linear top-1 (published, with a jigsaw branch).

    That branch, shuffled tiles that also find the keys, is left out here. Command: `torchrun
    --nproc-per-node 8 -m manyviews train infomin-imagenet --data DIR`. Source:
    HobbitLong/PyContrast pycontrast/options/base_options.py, datasets/util.py.
    """
    views = Augmented(
        scale=(0.2, 1.0), brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, blur=(0.5,)
    )
    return Run(
        recipe="infomin-imagenet",
        method=MoCoConfig(temperature=0.15),
        encoders=authors.resnet50(zero_init=False),
        views=struct("Views", {"global": views}),
        data=authors.data(facts, batch_size=256),
        optim=Optim(
            name="sgd",
            lr=0.03,
            lr_per=0,
            lr_end=0.001,
            weight_decay=1e-4,
            decay_all=True,
            by_epoch=True,
        ),
        train=Train(epochs=200),
    )
