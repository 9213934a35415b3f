"""data2vec: for your own images, and as the authors trained it on ImageNet."""

from typing import Any

from manyviews.core.schedules import Ramp
from manyviews.encoders.settings import ViTConfig
from manyviews.methods.masked.data2vec import Data2VecConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import small_data
from manyviews.recipes.masked import beit
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.plan import Mask


def small(facts: Facts) -> Run[Data2VecConfig, Any, Any]:
    """Your own data, sized to the images and the hardware, with a quick teacher.

    Command: `manyviews train data2vec --data DIR`.
    """
    return small_data.masked(
        facts,
        name="data2vec",
        method=Data2VecConfig(average=3, momentum=Ramp(0.99, 0.999, fraction=1.0)),
        mask=Mask(ratio=0.6, kind="block"),
        optim=Optim(name="adamw", lr=1e-3, weight_decay=0.05, warmup=0.05, clip=3.0),
    )


def imagenet(facts: Facts) -> Run[Data2VecConfig, Any, Any]:
    """The authors' ViT-B/16 on ImageNet: 84.2 % fine-tuned (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train data2vec-imagenet --data DIR`; 800
    epochs. Source: facebookresearch/data2vec_vision beit/README.md,
    which is built on BEiT's code.
    """
    return Run(
        recipe="data2vec-imagenet",
        method=Data2VecConfig(),
        encoders=authors.image(
            ViTConfig(
                name="vit_base_patch16_224",
                positions="sincos",
                pool="mean",
                drop_path=0.25,
                class_token=0.02,
            )
        ),
        views=beit.views(hidden=120),
        data=authors.data(facts, batch_size=2048),
        optim=beit.optim(2e-3),
        train=Train(epochs=800),
    )
