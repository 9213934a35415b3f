"""Image methods on several clips of a video: rho-SimCLR, rho-BYOL, rho-MoCo and rho-SwAV.

rho is the number of clips of each video, `--views.global.count`. Feichtenhofer et al. 2021, "A
large-scale study on unsupervised spatiotemporal representation learning", arXiv:2104.14558;
facebookresearch/SlowFast, configs/contrastive_ssl, whose networks reached what is said below (the
project's README).
"""

from typing import Any

from manyviews.core.inputs import Frames
from manyviews.core.schedules import Cosine
from manyviews.core.settings import struct
from manyviews.data.settings import Data
from manyviews.encoders.slow import SlowConfig
from manyviews.methods.clustering.swav import SwAVConfig
from manyviews.methods.contrastive.moco import MoCoConfig
from manyviews.methods.contrastive.simclr import SimCLRConfig
from manyviews.methods.distillation.byol import BYOLConfig
from manyviews.recipes.video import own
from manyviews.runs.settings import Facts, MethodConfig, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.video.clips import Clips

STREAMS = ("video",)
"""What these recipes take of a sample."""

_SHARD = 64
"""Clips of the 8 GPUs that their learning rates are for; they had 8 such machines."""
_EPOCHS = 200


def simclr(facts: Facts) -> Run[SimCLRConfig, Any, Any]:
    """Your own videos, sized to the hardware: SimCLR on two clips of each.

    Command: `manyviews train rho-simclr --data DIR`.
    """
    method = SimCLRConfig(temperature=0.2, hidden=512, out=128)
    return own.run(facts, name="rho-simclr", method=method)


def byol(facts: Facts) -> Run[BYOLConfig, Any, Any]:
    """Your own videos, sized to the hardware: BYOL on two clips of each.

    Command: `manyviews train rho-byol --data DIR`.
    """
    method = BYOLConfig(momentum=Cosine(0.99, 1.0), hidden=1024, out=128)
    return own.run(facts, name="rho-byol", method=method)


def moco(facts: Facts) -> Run[MoCoConfig, Any, Any]:
    """Your own videos, sized to the hardware: MoCo on two clips of each.

    Command: `manyviews train rho-moco --data DIR`.
    """
    method = MoCoConfig(
        queue=4096,
        momentum=Cosine(0.99, 0.99),
        hidden=512,
        out=128,
        norm_groups=4,
        symmetric=True,
    )
    return own.run(facts, name="rho-moco", method=method)


def swav(facts: Facts) -> Run[SwAVConfig, Any, Any]:
    """Your own videos, sized to the hardware: SwAV on two clips of each.

    Command: `manyviews train rho-swav --data DIR`.
    """
    method = SwAVConfig(hidden=512, out=128, prototypes=300, queue=0, frozen_until=0.02)
    return own.run(facts, name="rho-swav", method=method)


def simclr_kinetics(facts: Facts) -> Run[SimCLRConfig, Any, Any]:
    """The authors' slow-only ResNet-50 on Kinetics-400: 61.5 % linear with rho 2 (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train rho-simclr-kinetics --data DIR`.
    """
    method = SimCLRConfig(temperature=0.1, layers=3)
    return _kinetics(facts, "rho-simclr-kinetics", method, _lars(0.6))


def byol_kinetics(facts: Facts) -> Run[BYOLConfig, Any, Any]:
    """The authors' slow-only ResNet-50 on Kinetics-400: 67.4 % linear with rho 2 (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train rho-byol-kinetics --data DIR`; with
    `--views.global.count 4 --optim.lr 1.2` it is theirs of 70.1 %.
    """
    return _kinetics(facts, "rho-byol-kinetics", BYOLConfig(), _lars(0.6))


def moco_kinetics(facts: Facts) -> Run[MoCoConfig, Any, Any]:
    """The authors' slow-only ResNet-50 on Kinetics-400: 66.6 % linear with rho 2 (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train rho-moco-kinetics --data DIR`; with
    `--views.global.count 4 --optim.lr 0.1` it is theirs of 71.0 %.
    """
    method = MoCoConfig(
        temperature=0.1, momentum=Cosine(0.994, 1.0), layers=3, norm_groups=64, symmetric=True
    )
    return _kinetics(facts, "rho-moco-kinetics", method, _optim("sgd", 0.05, weight_decay=1e-4))


def swav_kinetics(facts: Facts) -> Run[SwAVConfig, Any, Any]:
    """The authors' slow-only ResNet-50 on Kinetics-400: 62.6 % linear with rho 2 (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train rho-swav-kinetics --data DIR`.
    """
    method = SwAVConfig(prototypes=1000, queue=0, frozen_until=1 / _EPOCHS)
    return _kinetics(facts, "rho-swav-kinetics", method, _lars(0.6))


def _kinetics(
    facts: Facts, name: str, method: MethodConfig, optim: Optim
) -> Run[MethodConfig, Any, Any]:
    """What their four recipes share."""
    fed = Frames(frames=8, rate=30 / 8, mean=(0.45,) * 3, std=(0.225,) * 3)
    views = Clips(
        count=2,
        scale=(0.2, 0.766),
        ratio=(0.75, 1.3333),
        jitter=0.8,
        brightness=0.6,
        contrast=0.6,
        saturation=0.6,
        hue=0.15,
        grey=0.2,
        blur=0.5,
    )
    return Run(
        recipe=name,
        method=method,
        encoders=struct("Encoders", {"video": SlowConfig(input=fed)}),
        views=struct("Views", {"global": views}),
        data=Data(source=facts.source, batch_size=512),
        optim=optim,
        train=Train(epochs=_EPOCHS),
    )


def _lars(lr: float) -> Optim:
    return _optim("lars", lr, weight_decay=1e-6)


def _optim(name: Any, lr: float, *, weight_decay: float) -> Optim:
    return Optim(
        name=name,
        lr=lr,
        lr_per=_SHARD,
        lr_start=0.001 / lr,
        warmup=35 / _EPOCHS,
        weight_decay=weight_decay,
    )
