"""MAE: for your own data, and as the authors trained it on ImageNet."""

from dataclasses import replace
from typing import Any

from manyviews.core.settings import struct
from manyviews.encoders.settings import ViTConfig
from manyviews.methods.masked.mae import MAEConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import photometric, small_data
from manyviews.runs.settings import Facts, Run, Teacher
from manyviews.training.settings import Optim, Train
from manyviews.views.plan import Mask


def small(facts: Facts) -> Run[MAEConfig, Any, Any]:
    """Your own data, sized to the images and the hardware.

    Command: `manyviews train mae --data DIR`. Accuracy on `builtin:fashion`: docs/results.md.
    """
    return small_data.masked(
        facts, name="mae", method=MAEConfig(width=128, depth=2, heads=4), mask=Mask(ratio=0.75)
    )


def codes(facts: Facts) -> Run[MAEConfig, Any, Any]:
    """Your own data with discrete targets, the codes of a tokenizer of yours (table 1d).

    Command: `manyviews train mae-codes --data DIR --teachers.tokenizer RUN`, RUN made by
    `manyviews train tokenizer --data DIR`.
    """
    run = small(facts)
    return replace(
        run,
        recipe="mae-codes",
        method=replace(run.method, target="codes"),
        teachers=struct("Teachers", {"tokenizer": Teacher()}),
    )


def imagenet(facts: Facts) -> Run[MAEConfig, Any, Any]:
    """The authors' ViT-B/16 on ImageNet: 67.8 % linear, 83.66 % fine-tuned (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train mae-imagenet --data DIR`; 1600
    epochs. Source: facebookresearch/mae PRETRAIN.md.
    """
    return Run(
        recipe="mae-imagenet",
        method=MAEConfig(),
        encoders=authors.image(
            ViTConfig(name="vit_base_patch16_224", positions="sincos", class_token=0.02)
        ),
        views=struct("Views", {"global": photometric.MAE}),
        data=authors.data(facts, batch_size=4096),
        optim=Optim(
            name="adamw", lr=1.5e-4, weight_decay=0.05, betas=(0.9, 0.95), warmup=40 / 1600
        ),
        train=Train(epochs=1600),
    )
