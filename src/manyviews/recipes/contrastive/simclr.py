"""SimCLR and its second version: for your own data, and as the authors trained on ImageNet."""

from dataclasses import replace
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


def deep(facts: Facts) -> Run[SimCLRConfig, Any, Any]:
    """Your own data, with the second version's head of three layers.

    Command: `manyviews train simclrv2 --data DIR`. Its third step, into a small network, is
    `manyviews train distill`.
    """
    run = small(facts)
    return replace(run, recipe="simclrv2", method=replace(run.method, layers=3))


def multicrop(facts: Facts) -> Run[SimCLRConfig, Any, Any]:
    """The same with local crops, which attract and repel as the others do.

    Command: `manyviews train simclr-multicrop --data DIR`; `--views.local.count` says how many.
    """
    return small_data.run(
        facts,
        name="simclr-multicrop",
        method=SimCLRConfig(temperature=0.2, hidden=512, out=128),
        local=2,
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


def deep_imagenet(facts: Facts) -> Run[SimCLRConfig, Any, Any]:
    """The second version as the authors' README trains it: 64.5 % after 100 epochs (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train simclrv2-imagenet --data DIR`. Source:
    google-research/simclr README.md, run.py. A head of three layers, the rate by the root of the
    batch, a decay of 1e-4; their best networks are wider, deeper, and have selective kernels.
    """
    run = imagenet(facts)
    return replace(
        run,
        recipe="simclrv2-imagenet",
        method=replace(run.method, layers=3),
        optim=replace(
            run.optim, lr=0.075 * 4096**0.5, lr_per=0, weight_decay=1e-4, warmup=10 / 100
        ),
        train=Train(epochs=100),
    )
