"""Rotation: for your own data, and as a ResNet-50 was trained on ImageNet."""

from dataclasses import replace
from typing import Any

from manyviews.core.settings import parts, struct
from manyviews.methods.pretext.rotation import RotationConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.plan import Crops


def small(facts: Facts) -> Run[RotationConfig, Any, Any]:
    """Your own data, sized to the images and the hardware.

    For images that have an upside: nothing is learnt from what looks alike in every turn.
    Command: `manyviews train rotation --data DIR`.
    """
    run = small_data.run(facts, name="rotation", method=RotationConfig())
    crops = parts(run.views)["global"]
    return replace(run, views=struct("Views", {"global": replace(crops, count=1)}))


def imagenet(facts: Facts) -> Run[RotationConfig, Any, Any]:
    """A ResNet-50 on ImageNet, all four turns of every image: 47.0 % linear top-1 (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train rotation-imagenet --data DIR`.
    Source: open-mmlab/mmselfsup
    configs/selfsup/rotation_pred/rotation-pred_resnet50_8xb16-steplr-70e_in1k.py (batch 128, so 512
    views). They divide the learning rate by 10 after 30 and 50 epochs, where this is a cosine.
    """
    crops = Crops(count=1, jitter=0.0, grey=0.0, blur=(0.0,))
    return Run(
        recipe="rotation-imagenet",
        method=RotationConfig(),
        encoders=authors.resnet50(zero_init=False),
        views=struct("Views", {"global": crops}),
        data=authors.data(facts, batch_size=128),
        optim=Optim(
            name="sgd",
            lr=0.2,
            lr_per=0,
            lr_start=0.1,
            warmup=5 / 70,
            weight_decay=1e-4,
            decay_all=True,
        ),
        train=Train(epochs=70),
    )
