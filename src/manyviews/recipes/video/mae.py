"""MAE on clips: for your own videos, hiding places or frames, and VideoMAE's on Kinetics."""

from dataclasses import replace
from typing import Any

from manyviews.core.settings import struct
from manyviews.data.settings import Data
from manyviews.encoders.settings import TubeletsConfig
from manyviews.methods.masked.mae import MAEConfig
from manyviews.recipes.video import own
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.plan import Mask, MaskKind
from manyviews.views.video.clips import Clips

STREAMS = ("video",)
"""What these recipes take of a sample."""

_TUBES = Mask(ratio=0.9, kind="tube")
_BETAS = (0.9, 0.95)


def small(facts: Facts) -> Run[MAEConfig, Any, Any]:
    """Your own videos, sized to the hardware: nine of ten places hidden at all times.

    Command: `manyviews train mae-video --data DIR`; with `--views.global.mask.kind random` any
    nine of ten tokens of space and time, as Feichtenhofer et al. 2022 (arXiv:2205.09113).
    """
    gpu = facts.device != "cpu"
    encoder = TubeletsConfig(
        input=own.fed(facts),
        patch=8,
        width=384 if gpu else 192,
        depth=12 if gpu else 6,
        heads=6 if gpu else 3,
    )
    method = MAEConfig(width=128, depth=2, heads=4)
    run = own.run(facts, name="mae-video", method=method)
    return replace(
        run,
        encoders=struct("Encoders", {"video": encoder}),
        views=struct("Views", {"global": Clips(scale=(0.5, 1.0), jitter=0.0, mask=_TUBES)}),
        optim=Optim(name="adamw", lr=1.5e-3, weight_decay=0.05, betas=_BETAS, warmup=0.05),
    )


def future(facts: Facts) -> Run[MAEConfig, Any, Any]:
    """Your own videos: from the first half of a clip predict the frames of the second.

    Command: `manyviews train frame-prediction --data DIR`.
    """
    return _frames(facts, "frame-prediction", "future")


def between(facts: Facts) -> Run[MAEConfig, Any, Any]:
    """Your own videos: from the frames at both ends of a clip tell those between them.

    Command: `manyviews train frame-interpolation --data DIR`.
    """
    return _frames(facts, "frame-interpolation", "between")


def _frames(facts: Facts, name: str, kind: MaskKind) -> Run[MAEConfig, Any, Any]:
    """Half of the times are hidden, each with all of its places."""
    clips = Clips(scale=(0.5, 1.0), jitter=0.0, mask=Mask(ratio=0.5, kind=kind))
    return replace(small(facts), recipe=name, views=struct("Views", {"global": clips}))


def kinetics(facts: Facts) -> Run[MAEConfig, Any, Any]:
    """VideoMAE's ViT-B on Kinetics-400: 81.5 % fine-tuned (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train mae-video-kinetics --data DIR`; 1600
    epochs. Source: MCG-NJU/VideoMAE scripts/kinetics/videomae_vit_base_patch16_224_tubemasking_
    ratio_0.9_epoch_1600/pretrain.sh.
    """
    return Run(
        recipe="mae-video-kinetics",
        method=MAEConfig(width=384, depth=4, heads=6, by_channel=True),
        encoders=struct("Encoders", {"video": TubeletsConfig()}),
        views=struct(
            "Views",
            {
                "global": Clips(
                    scale=(0.66**2, 1.0), ratio=(1.0, 1.0), flip=0.0, jitter=0.0, mask=_TUBES
                )
            },
        ),
        data=Data(source=facts.source, batch_size=2048),
        optim=Optim(
            name="adamw",
            lr=1.5e-4,
            lr_start=1e-6 / 1.5e-4,
            lr_end=1e-5 / 1.5e-4,
            weight_decay=0.05,
            betas=_BETAS,
            warmup=40 / 1600,
        ),
        train=Train(epochs=1600),
    )
