"""W-MSE: for your own data, and as the authors trained it on ImageNet-100."""

from dataclasses import replace
from typing import Any

from manyviews.core.settings import struct
from manyviews.encoders.settings import TimmConfig
from manyviews.methods.redundancy.wmse import WMSEConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.plan import Crops


def small(facts: Facts) -> Run[WMSEConfig, Any, Any]:
    """Your own data, sized to the images and the hardware; sub-batches are halves of the batch.

    Command: `manyviews train wmse --data DIR`.
    """
    run = small_data.run(facts, name="wmse", method=WMSEConfig(hidden=512))
    part = max(2, run.data.batch_size // 2)
    out = max(1, min(64, part // 2))
    return replace(run, method=replace(run.method, sub_batch=part, out=out))


def imagenet(facts: Facts) -> Run[WMSEConfig, Any, Any]:
    """The authors' ResNet-18 on 100 classes of ImageNet, two views; no accuracy is in their code.

    Command: `manyviews train wmse-imagenet --data DIR`, with the classes of HobbitLong/CMC
    imagenet100.txt in DIR. Source: htdt/self-supervised README.md, cfg.py, datasets/imagenet.py.
    Their rate falls to a fifth 50 and again 25 epochs before the end; here by a cosine.
    """
    crops = Crops(
        scale=(0.08, 1.0),
        interpolation="bicubic",
        brightness=0.8,
        contrast=0.8,
        saturation=0.8,
        hue=0.2,
    )
    return Run(
        recipe="wmse-imagenet",
        method=WMSEConfig(sub_batch=256, out=128),
        encoders=authors.image(TimmConfig(name="resnet18", zero_init=False)),
        views=struct("Views", {"global": crops}),
        data=authors.data(facts, batch_size=512),
        # 500 steps of warm-up; 126,689 images of 100 classes make 247 steps of 512 an epoch.
        optim=Optim(
            name="adam",
            lr=2e-3,
            lr_per=0,
            weight_decay=1e-6,
            decay_all=True,
            warmup=500 / (240 * 247),
        ),
        train=Train(epochs=240),
    )
