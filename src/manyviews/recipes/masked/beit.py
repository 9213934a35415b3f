"""BEiT: for your own images, and as the authors trained it on ImageNet."""

from dataclasses import replace
from typing import Any

from manyviews.core.settings import struct
from manyviews.encoders.settings import ViTConfig
from manyviews.methods.masked.beit import BEiTConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run, Teacher
from manyviews.training.settings import Optim, Train
from manyviews.views.plan import Crops, Mask


def small(facts: Facts) -> Run[BEiTConfig, Any, Any]:
    """Your own data, sized to the images and the hardware, with a tokenizer of yours.

    Command: `manyviews train beit --data DIR --teachers.tokenizer RUN`, RUN made by
    `manyviews train tokenizer --data DIR`.
    """
    run = small_data.masked(
        facts,
        name="beit",
        method=BEiTConfig(),
        mask=Mask(ratio=0.4, kind="block"),
        optim=Optim(name="adamw", lr=1e-3, weight_decay=0.05, warmup=0.05, clip=3.0),
    )
    return replace(run, teachers=struct("Teachers", {"tokenizer": Teacher()}))


def imagenet(facts: Facts) -> Run[BEiTConfig, Any, Any]:
    """The authors' ViT-B/16 on ImageNet; 83.2 % fine-tuned (published), with DALL-E's tokenizer.

    Command: `torchrun --nproc-per-node 16 -m manyviews train beit-imagenet --data DIR
    --teachers.tokenizer RUN`; 800 epochs. Source: microsoft/unilm
    beit/get_started_for_image_classification.md; what differs: docs/methods/beit.md.
    """
    return Run(
        recipe="beit-imagenet",
        method=BEiTConfig(),
        encoders=authors.image(
            ViTConfig(name="vit_base_patch16_224", pool="mean", drop_path=0.1, class_token=0.02)
        ),
        views=views(hidden=75),
        teachers=struct("Teachers", {"tokenizer": Teacher()}),
        data=authors.data(facts, batch_size=2048),
        optim=optim(1.5e-3),
        train=Train(epochs=800),
    )


def views(*, hidden: int) -> Any:
    """One coloured crop of 224 pixels with so many of its 196 patches hidden in blocks."""
    crops = Crops(
        count=1,
        scale=(0.08, 1.0),
        interpolation="bicubic",
        jitter=1.0,
        brightness=0.4,
        contrast=0.4,
        saturation=0.4,
        hue=0.0,
        grey=0.0,
        blur=(0.0,),
        mask=Mask(ratio=hidden / 196, kind="block"),
    )
    return struct("Views", {"global": crops})


def optim(lr: float) -> Optim:
    """AdamW over 800 epochs, 10 of them warm-up from 1e-6, down to 1e-5."""
    return Optim(
        name="adamw",
        lr=lr,
        lr_per=0,
        lr_start=1e-6 / lr,
        lr_end=1e-5 / lr,
        weight_decay=0.05,
        warmup=10 / 800,
        clip=3.0,
    )
