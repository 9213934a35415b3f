"""LeJEPA: for your own data, and as the authors say that they train it on ImageNet."""

from dataclasses import replace
from typing import Any

from manyviews.core.settings import struct
from manyviews.encoders.settings import ViTConfig
from manyviews.methods.redundancy.lejepa import LeJEPAConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.plan import Crops


def small(facts: Facts) -> Run[LeJEPAConfig, Any, Any]:
    """Your own data, sized to the images and the hardware, with fewer lines.

    Command: `manyviews train lejepa --data DIR`.
    """
    return small_data.run(
        facts, name="lejepa", method=LeJEPAConfig(lines=256, hidden=512, out=64), local=2
    )


def imagenet(facts: Facts) -> Run[LeJEPAConfig, Any, Any]:
    """A ViT-L/14 on ImageNet for 100 epochs, with the views and the optimiser that they give.

    Command: `torchrun --nproc-per-node 8 -m manyviews train lejepa-imagenet --data DIR`. Source:
    rbalestr-lab/lejepa README.md. It does not say the batch, the weight and the warm-up; those
    are of lightly-ai/lightly benchmarks/imagenet/vitb16/lejepa.py.
    """
    seen = Crops(
        scale=(0.3, 1.0),
        brightness=0.4,
        contrast=0.4,
        saturation=0.2,
        hue=0.1,
        solarize=(0.2,),
    )
    return Run(
        recipe="lejepa-imagenet",
        method=LeJEPAConfig(),
        encoders=authors.image(ViTConfig(name="vit_large_patch14_224", drop_path=0.1)),
        views=struct(
            "Views", {"global": seen, "local": replace(seen, count=6, size=98, scale=(0.05, 0.3))}
        ),
        data=authors.data(facts, batch_size=512),
        optim=Optim(
            name="adamw",
            lr=5e-4,
            lr_per=0,
            lr_start=0.01,
            lr_end=0.001,
            warmup=1 / 100,
            weight_decay=0.05,
            decay_all=True,
        ),
        train=Train(epochs=100),
    )
