"""Colorization: for your own colour images, and with the authors' numbers on ImageNet."""

from dataclasses import replace
from typing import Any

from manyviews.core.inputs import Pixels
from manyviews.core.settings import parts, struct
from manyviews.encoders.lab import LabConfig
from manyviews.encoders.settings import ResNetSmallConfig
from manyviews.methods.pretext.colorization import ColorizationConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.plan import Crops


def small(facts: Facts) -> Run[ColorizationConfig, Any, Any]:
    """Your own colour images, sized to them and the hardware; the encoder sees lightness alone.

    Colours are told at a quarter of the resolution. Command: `manyviews train colorization --data
    DIR`.

    Raises:
        UsageError: the images have no colours.
    """
    small_data.want_colours(facts, "colorization")
    run = small_data.run(
        replace(facts, encoder=None), name="colorization", method=ColorizationConfig()
    )
    (like,) = parts(run.encoders).values()
    stride = 8 if isinstance(like, ResNetSmallConfig) or like.stem == "small" else 32
    scale = parts(run.views)["global"].scale
    crops = Crops(count=1, scale=scale, jitter=0.0, grey=0.0, blur=(0.0,))
    return replace(
        run,
        method=ColorizationConfig(places=stride // 4),
        encoders=struct("Encoders", {"image": small_data.lab(like, "L")}),
        views=struct("Views", {"global": crops}),
    )


def imagenet(facts: Facts) -> Run[ColorizationConfig, Any, Any]:
    """The authors' numbers for a ResNet-50, where they have a VGG: no accuracy is published.

    Command: `torchrun --nproc-per-node 4 -m manyviews train colorization-imagenet --data DIR`.
    Source: richzhang/colorization train/solver.prototxt (Adam, 500,000 steps of 40 images) and
    models/colorization_train_val_v2.prototxt. They divide the learning rate by 10 every 225,000
    steps, where this is a cosine. Crops are 176 of 256 pixels, here shown at 224.
    """
    area = (176 / 256) ** 2
    crops = Crops(count=1, scale=(area, area), ratio=(1.0, 1.0), jitter=0.0, grey=0.0, blur=(0.0,))
    encoder = LabConfig(input=Pixels(), sees="L", network="resnet50", zero_init=False)
    return Run(
        recipe="colorization-imagenet",
        method=ColorizationConfig(),
        encoders=struct("Encoders", {"image": encoder}),
        views=struct("Views", {"global": crops}),
        data=authors.data(facts, batch_size=40),
        optim=Optim(
            name="adam", lr=3e-5, lr_per=0, weight_decay=1e-3, betas=(0.9, 0.99), decay_all=True
        ),
        train=Train(steps=500_000),
    )
