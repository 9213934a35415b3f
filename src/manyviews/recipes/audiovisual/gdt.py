"""GDT: for your own videos with sound, and after the authors' training on Kinetics."""

from dataclasses import replace
from typing import Any

from manyviews.core.inputs import Frames, LogMel
from manyviews.core.settings import struct
from manyviews.data.settings import Data
from manyviews.encoders.audio import AudioConvConfig
from manyviews.encoders.video import R2Plus1DConfig
from manyviews.methods.audiovisual.gdt import GDTConfig
from manyviews.recipes.audiovisual import avid
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.audio.sounds import Sounds
from manyviews.views.video.clips import Clips

STREAMS = ("video", "audio")
"""What these recipes take of a sample."""

_LARGEST_BATCH = 64
_RANKS = 16
"""The authors' processes, by whose number they multiply the learning rate."""


def small(facts: Facts) -> Run[GDTConfig, Any, Any]:
    """Your own videos with sound, sized to the hardware: two clips of each, both ways.

    Command: `manyviews train gdt --data DIR`. Videos without sound are left out.
    """
    run: Run[Any, Any, Any] = avid.small(facts)
    views = {"video": Clips(count=2, scale=(0.3, 1.0)), "audio": Sounds(count=2, offset=0.0)}
    return replace(
        run,
        recipe="gdt",
        method=GDTConfig(hidden=256, out=128),
        views=struct("Views", views),
        data=replace(run.data, batch_size=min(_LARGEST_BATCH, run.data.batch_size)),
    )


def kinetics(facts: Facts) -> Run[GDTConfig, Any, Any]:
    """The authors' R(2+1)D-18 on Kinetics-400: 90.9 % on UCF-101 after fine-tuning (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train gdt-kinetics --data DIR`. Source:
    facebookresearch/GDT scripts/pretrain_gdt_k400.sh, which wants a hypothesis: here 6, where both
    changes tell clips apart; `--method.shift` and `--method.reversal` say another.
    """
    fed = Frames(side=112, frames=30, rate=30.0, mean=(0.45,) * 3, std=(0.225,) * 3)
    sound = LogMel(rate=24000, seconds=1.0, bins=40, window=0.02)
    views = {
        "video": Clips(count=2, scale=(0.49, 0.766), ratio=(1.0, 1.0), hue=0.0),
        "audio": Sounds(count=2, offset=0.0, mask_time=0.06, mask_bands=0.075),
    }
    return Run(
        recipe="gdt-kinetics",
        method=GDTConfig(),
        encoders=struct(
            "Encoders",
            {"video": R2Plus1DConfig(input=fed), "audio": AudioConvConfig(input=sound)},
        ),
        views=struct("Views", views),
        data=Data(source=facts.source, batch_size=8 * _RANKS),
        optim=optim(_RANKS),
        train=Train(epochs=201),
    )


def optim(ranks: int) -> Optim:
    """SGD over 201 epochs whose rate, 0.01 a process, is reached in ten and then kept.

    Source: facebookresearch/GDT and facebookresearch/selavi, which begin and go on alike.
    """
    return Optim(
        name="sgd",
        lr=0.01 * ranks,
        lr_per=0,
        lr_start=1 / ranks,
        lr_end=1.0,
        warmup=10 / 201,
        weight_decay=1e-5,
        decay_all=True,
    )
