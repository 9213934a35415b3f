"""PIRL: for your own data, and as the authors trained it on ImageNet."""

from dataclasses import fields, replace
from typing import Any

from manyviews.core.settings import parts, struct
from manyviews.methods.contrastive.pirl import PIRLConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.image.tiles import Tiles
from manyviews.views.image.turned import Turned
from manyviews.views.plan import Crops


def small(facts: Facts) -> Run[PIRLConfig, Any, Any]:
    """Your own data, sized to the images and the hardware, with nine shuffled tiles.

    InfoNCE and heads of two layers, as in the authors' improved variant; theirs has temperature
    0.1 and 32000 negatives, and 0.2 with at most 4096 is ours, as are rows that begin filled.
    Command: `manyviews train pirl --data DIR`. Accuracy on `builtin:fashion`: docs/results.md.
    """
    run = small_data.run(
        facts,
        name="pirl",
        method=PIRLConfig(
            loss="info_nce",
            temperature=0.2,
            negatives=min(4096, facts.count),
            hidden=512,
            filled=True,
        ),
        optim=small_data.of_banks(),
    )
    views = parts(run.views)
    crops = views["global"]
    tiles = small_data.tiles(crops, side=parts(run.encoders)["image"].input.side)
    return replace(run, views=struct("Views", {"global": replace(crops, count=1), "tiles": tiles}))


def rotation(facts: Facts) -> Run[PIRLConfig, Any, Any]:
    """Your own data, sized to the images and the hardware, with a crop turned by quarter turns.

    As `pirl` otherwise; the paper's second transform (section 3.1).
    Command: `manyviews train pirl-rotation --data DIR`.
    """
    run = small(facts)
    views = parts(run.views)
    crops = views["global"]
    told = {field.name: getattr(crops, field.name) for field in fields(crops)}
    return replace(
        run,
        recipe="pirl-rotation",
        method=replace(run.method, transform="rotation"),
        views=struct("Views", {"global": crops, "turned": Turned(**told)}),
    )


def imagenet(facts: Facts) -> Run[PIRLConfig, Any, Any]:
    """The authors' ResNet-50 on ImageNet, jigsaw: 63.6 % linear top-1 after 800 epochs (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train pirl-imagenet --data DIR`.
    Source: facebookresearch/vissl configs/config/pretrain/pirl/pirl_jigsaw_4node_resnet50.yaml
    (batch 1024, lr 0.12 by a cosine that is stepped once an epoch, no weight decay on norms and
    biases). Posterise, sharpen, solarise and autocontrast, which two thirds of its images and tiles
    get, are left out.
    """
    image = Crops(
        count=1, jitter=1.0, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2, blur=(0.0,)
    )
    return Run(
        recipe="pirl-imagenet",
        method=PIRLConfig(),
        encoders=authors.resnet50(zero_init=False),
        views=struct("Views", {"global": image, "tiles": Tiles()}),
        data=authors.data(facts, batch_size=1024),
        optim=Optim(name="sgd", lr=0.03, lr_end=0.001, weight_decay=1e-4, by_epoch=True),
        train=Train(epochs=800),
    )
