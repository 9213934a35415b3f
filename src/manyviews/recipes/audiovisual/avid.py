"""AVID: for your own videos with sound, and after the authors' training on Kinetics."""

from typing import Any

from manyviews.core.inputs import Frames, LogMel
from manyviews.core.settings import struct
from manyviews.data.settings import Data
from manyviews.encoders.audio import AudioConvConfig
from manyviews.encoders.video import R2Plus1DConfig
from manyviews.methods.audiovisual.avid import AVIDConfig
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.audio.sounds import Sounds
from manyviews.views.video.clips import Clips

STREAMS = ("video", "audio")
"""What these recipes take of a sample."""


def small(facts: Facts) -> Run[AVIDConfig, Any, Any]:
    """Your own videos with sound, sized to the hardware.

    Command: `manyviews train avid --data DIR`. Videos without sound are left out.
    """
    gpu = facts.device != "cpu"
    frames = Frames(side=112 if gpu else 64, frames=8, rate=16.0)
    sound = LogMel(seconds=1.0, bins=64)
    return Run(
        recipe="avid",
        method=AVIDConfig(negatives=min(1024, facts.count), hidden=256),
        encoders=struct(
            "Encoders",
            {
                "video": R2Plus1DConfig(input=frames, width=64 if gpu else 16, depth=1),
                "audio": AudioConvConfig(input=sound, width=64 if gpu else 16, depth=1),
            },
        ),
        views=struct("Views", {"video": Clips(scale=(0.3, 1.0)), "audio": Sounds()}),
        data=small_data.data(facts),
        optim=Optim(name="adamw", lr=1e-3, lr_per=0, weight_decay=0.01, warmup=0.05),
        train=small_data.duration(facts),
    )


def kinetics(facts: Facts) -> Run[AVIDConfig, Any, Any]:
    """The authors' R(2+1)D-18 on Kinetics-400: 82.3 % on UCF-101 after fine-tuning (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train avid-kinetics --data DIR`. Source:
    facebookresearch/AVID-CMA configs/main/avid/kinetics/Cross-N1024.yaml (batch 256, lr 2e-4
    throughout, 30 epochs of 10 clips a video). Sound becomes log-mel bands here, 257 linear bands
    there.
    """
    return Run(
        recipe="avid-kinetics",
        method=AVIDConfig(),
        encoders=struct(
            "Encoders",
            {
                "video": R2Plus1DConfig(),
                "audio": AudioConvConfig(input=LogMel(rate=24000)),
            },
        ),
        views=struct("Views", {"video": Clips(), "audio": Sounds()}),
        data=Data(source=facts.source, batch_size=256),
        optim=Optim(name="adam", lr=2e-4, lr_per=0, lr_end=1.0, weight_decay=1e-5, decay_all=True),
        train=Train(epochs=300),
    )
