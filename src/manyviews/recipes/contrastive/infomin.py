"""InfoMin's views for MoCo: for your own data, and as the authors trained on ImageNet."""

from dataclasses import replace
from typing import Any

from manyviews.core.settings import parts, struct
from manyviews.methods.contrastive.moco import MoCoConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import small_data
from manyviews.recipes.contrastive import moco
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.image.augmented import Augmented
from manyviews.views.image.tiles import Tiles


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


def jigsaw(facts: Facts) -> Run[MoCoConfig, Any, Any]:
    """The same with nine shuffled tiles that find the same keys, as the authors have it.

    Command: `manyviews train infomin-jigsaw --data DIR`.
    """
    run = small(facts)
    [encoder] = parts(run.encoders).values()
    tiles = small_data.tiles(parts(run.views)["global"], side=encoder.input.side)
    tiles = replace(tiles, jitter=0.0, grey=0.0)
    return replace(
        run,
        recipe="infomin-jigsaw",
        method=replace(run.method, jigsaw=0.5),
        views=struct("Views", parts(run.views) | {"tiles": tiles}),
    )


def imagenet(facts: Facts) -> Run[MoCoConfig, Any, Any]:
    """The authors' ResNet-50 on ImageNet: 70.1 % linear top-1 after 200 epochs (published).

    Nine shuffled tiles find the keys too. Command: `torchrun --nproc-per-node 8 -m manyviews train
    infomin-imagenet --data DIR`. Source: HobbitLong/PyContrast
    pycontrast/options/base_options.py, options/train_options.py, datasets/util.py.
    """
    views = Augmented(
        scale=(0.2, 1.0), brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, blur=(0.5,)
    )
    return Run(
        recipe="infomin-imagenet",
        method=MoCoConfig(temperature=0.15, jigsaw=0.5),
        encoders=authors.resnet50(zero_init=False),
        views=struct("Views", {"global": views, "tiles": Tiles(jitter=0.0, grey=0.0)}),
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
