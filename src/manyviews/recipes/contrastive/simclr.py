"""SimCLR: for your own data, and as the authors trained it on ImageNet."""

from typing import Any

from manyviews.core.settings import struct
from manyviews.methods.contrastive.simclr import SimCLRConfig
from manyviews.recipes import imagenet as authors
from manyviews.recipes import photometric, small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train


def small(facts: Facts) -> Run[SimCLRConfig, Any, Any]:
    """Your own data, sized to the images and the hardware.

    Command: `manyviews train simclr --data DIR`. Accuracy on `builtin:fashion`: docs/results.md.
    """
    return small_data.run(
        facts,
        name="simclr",
        method=SimCLRConfig(temperature=0.2, hidden=512, out=128),
    )


def imagenet(facts: Facts) -> Run[SimCLRConfig, Any, Any]:
    """The authors' ResNet-50 on ImageNet: 69.1 % linear top-1 after 1000 epochs (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train simclr-imagenet --data DIR`.
    Batch 4096 wants about 32 GPUs of 16 GB, or --train.accumulate (which shrinks the set of
    negatives). Sources: google-research/simclr run.py, data_util.py and lars_optimizer.py; the
    weight decay of 1e-6 and the projector of two layers are those of the paper (section 2.2 and
    figure 4; the repository's README has 1e-4 and its run.py three layers, for the second version).
    """
    return Run(
        recipe="simclr-imagenet",
        method=SimCLRConfig(temperature=0.1, sum_of_views=True),
        encoders=authors.resnet50(),
        views=struct("Views", {"global": photometric.SIMCLR}),
        data=authors.data(facts, batch_size=4096),
        optim=Optim(name="lars-classic", lr=0.3, weight_decay=1e-6, warmup=10 / 1000),
        train=Train(epochs=1000),
    )
