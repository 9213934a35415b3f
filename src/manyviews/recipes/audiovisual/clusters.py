"""Clusters and labels of videos with sound: XDC and SeLaVi on your own, SeLaVi as the authors'."""

from dataclasses import replace
from typing import Any

from manyviews.core.inputs import Frames, LogMel
from manyviews.core.settings import struct
from manyviews.data.settings import Data
from manyviews.encoders.audio import AudioConvConfig
from manyviews.encoders.video import R2Plus1DConfig
from manyviews.methods.audiovisual.selavi import SeLaViConfig
from manyviews.methods.audiovisual.xdc import XDCConfig
from manyviews.recipes.audiovisual import avid, gdt
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Train
from manyviews.views.audio.sounds import Sounds
from manyviews.views.video.clips import Clips

STREAMS = ("video", "audio")
"""What these recipes take of a sample."""

_RANKS = 64
"""The authors' processes, by whose number they multiply the learning rate."""


def xdc(facts: Facts) -> Run[XDCConfig, Any, Any]:
    """Your own videos with sound: clusters of what is heard are learnt from pictures, and back.

    At most one cluster for every eight videos. Command: `manyviews train xdc --data DIR`; with
    `--method.source self`, `both` or `joint` the paper's SDC, MDC or CDC.
    """
    method = XDCConfig(clusters=max(2, min(128, facts.count // 8)), components=64)
    run: Run[Any, Any, Any] = avid.small(facts)
    return replace(run, recipe="xdc", method=method)


def selavi(facts: Facts) -> Run[SeLaViConfig, Any, Any]:
    """Your own videos with sound: labels on which pictures and sound agree, with three heads.

    At most one class for every eight videos. Command: `manyviews train selavi --data DIR`.
    """
    most = max(2, min(300, facts.count // 8))
    run: Run[Any, Any, Any] = avid.small(facts)
    return replace(run, recipe="selavi", method=SeLaViConfig(clusters=most, heads=3, hidden=256))


def selavi_kinetics(facts: Facts) -> Run[SeLaViConfig, Any, Any]:
    """The authors' R(2+1)D-18 on Kinetics-400 with ten heads: an NMI of 27.1 % (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train selavi-kinetics --data DIR`. Source:
    facebookresearch/selavi scripts/master.sh and README.md (1,024 videos a step on 64 GPUs). Their
    257 bands of a second are log-mel bands here, fewer of which would be empty.
    """
    fed = Frames(side=112, frames=30, rate=30.0, mean=(0.45,) * 3, std=(0.225,) * 3)
    sound = LogMel(rate=24000, seconds=1.0, bins=128, window=0.02)
    views = {
        "video": Clips(scale=(0.49, 0.766), ratio=(1.0, 1.0), jitter=0.0),
        "audio": Sounds(offset=0.0),
    }
    return Run(
        recipe="selavi-kinetics",
        method=SeLaViConfig(),
        encoders=struct(
            "Encoders",
            {"video": R2Plus1DConfig(input=fed), "audio": AudioConvConfig(input=sound)},
        ),
        views=struct("Views", views),
        data=Data(source=facts.source, batch_size=16 * _RANKS),
        optim=gdt.optim(_RANKS),
        train=Train(epochs=201),
    )
