"""EMP-SSL: for your own data, and as the authors trained it on ImageNet-100."""

from dataclasses import replace
from typing import Any

from manyviews.core.inputs import Pixels
from manyviews.core.settings import parts, struct
from manyviews.encoders.settings import TimmConfig
from manyviews.methods.redundancy.emp import EMPConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.plan import Crops


def small(facts: Facts) -> Run[EMPConfig, Any, Any]:
    """Your own data, sized to the images and the hardware: eight crops of a quarter of the image.

    An image is seen eight times a step, so that epochs take four times as long as with two views.
    Command: `manyviews train emp --data DIR`.
    """
    run = small_data.run(facts, name="emp", method=EMPConfig(hidden=512, out=128))
    crops = parts(run.views)["global"]
    many = replace(crops, count=8, scale=(0.25, 0.25), ratio=(1.0, 1.0), blur=(0.1,))
    few = replace(run.data, batch_size=min(64, run.data.batch_size))
    return replace(run, views=struct("Views", {"global": many}), data=few)


def imagenet(facts: Facts) -> Run[EMPConfig, Any, Any]:
    """The authors' ResNet-18 on 100 classes of ImageNet: 78.9 % after 10 epochs (published).

    That is of 200 crops and a linear layer on the mean of many crops' projections, not on the
    encoder's output. Command: `manyviews train emp-imagenet --data DIR`, with the classes of
    HobbitLong/CMC imagenet100.txt in DIR. Source: tsb0601/EMP-SSL README.md, main.py,
    dataset/aug4img.py, lars.py. Their momentum is Nesterov's. Their LARS has 0.005 where ours has
    0.001, which is in the rate here, and never more than the rate, which is not.
    """
    crops = Crops(
        count=20,
        scale=(0.25, 0.25),
        interpolation="bicubic",
        brightness=0.4,
        contrast=0.4,
        saturation=0.4,
        hue=0.2,
        blur=(0.1,),
        solarize=(0.1,),
    )
    return Run(
        recipe="emp-imagenet",
        method=EMPConfig(),
        encoders=authors.image(
            TimmConfig(
                name="resnet18", zero_init=False, input=Pixels(mean=(0.5,) * 3, std=(0.5,) * 3)
            )
        ),
        views=struct("Views", {"global": crops}),
        data=authors.data(facts, batch_size=100),
        optim=Optim(name="lars", lr=0.005 / 0.001, lr_1d=0.3, lr_per=0, weight_decay=1e-4),
        train=Train(epochs=10),
    )
