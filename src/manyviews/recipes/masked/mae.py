"""MAE: for your own data, and as the authors trained it on ImageNet."""

from typing import Any

from manyviews.core.settings import struct
from manyviews.encoders.settings import ViTConfig
from manyviews.methods.masked.mae import MAEConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import photometric, small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.plan import Crops, Mask


def small(facts: Facts) -> Run[MAEConfig, Any, Any]:
    """Your own data, sized to the images and the hardware.

    Command: `manyviews train mae --data DIR`. Accuracy on `builtin:fashion`: docs/results.md.
    """
    views = Crops(
        count=1, scale=(0.5, 1.0), jitter=0.0, grey=0.0, blur=(0.0,), mask=Mask(ratio=0.75)
    )
    return Run(
        recipe="mae",
        method=MAEConfig(width=128, depth=2, heads=4),
        encoders=struct(
            "Encoders", {"image": small_data.encoder_of(facts, tokens=True, masked=True)}
        ),
        views=struct("Views", {"global": views}),
        data=small_data.data(facts),
        optim=Optim(name="adamw", lr=1.5e-3, weight_decay=0.05, betas=(0.9, 0.95), warmup=0.05),
        train=small_data.duration(facts),
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
