"""MAE on spectrograms: for your own sounds, and as Audio-MAE was trained on AudioSet."""

from dataclasses import replace
from typing import Any

from manyviews.core.inputs import LogMel
from manyviews.core.settings import struct
from manyviews.data.settings import Data
from manyviews.encoders.settings import AudioViTConfig
from manyviews.methods.masked.mae import MAEConfig
from manyviews.recipes.audio import own
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.audio.sounds import Sounds
from manyviews.views.plan import Mask

STREAMS = ("audio",)
"""What these recipes take of a sample."""

_HIDDEN = Mask(ratio=0.8)
_BETAS = (0.9, 0.95)


def small(facts: Facts) -> Run[MAEConfig, Any, Any]:
    """Your own sounds, sized to the hardware: four of five patches of time and bands hidden.

    Command: `manyviews train mae-audio --data DIR`; with `--views.global.mask.kind time`, `band` or
    `time-band` whole times, whole bands or both, and with `--method.attention global` a decoder
    whose tokens see all others.
    """
    gpu = facts.device != "cpu"
    encoder = AudioViTConfig(
        input=LogMel(seconds=1.28, bins=64),
        patch=8,
        width=384 if gpu else 192,
        depth=12 if gpu else 6,
        heads=6 if gpu else 3,
    )
    method = MAEConfig(width=128, depth=4, heads=4, attention="local")
    views = Sounds(around="", gain=0.2, mask=_HIDDEN)
    run = own.run(facts, name="mae-audio", method=method, views=views)
    return replace(
        run,
        encoders=struct("Encoders", {"audio": encoder}),
        optim=Optim(name="adamw", lr=1.5e-3, weight_decay=0.05, betas=_BETAS, warmup=0.05),
    )


def audioset(facts: Facts) -> Run[MAEConfig, Any, Any]:
    """Audio-MAE's ViT-B on AudioSet: 47.3 mAP after fine-tuning (published).

    Command: `torchrun --nproc-per-node 8 -m manyviews train mae-audio-audioset --data DIR`. Source:
    facebookresearch/AudioMAE submit_pretrain_audioset2M.sh.
    """
    return Run(
        recipe="mae-audio-audioset",
        method=MAEConfig(width=512, depth=16, heads=16, attention="local"),
        encoders=struct("Encoders", {"audio": AudioViTConfig()}),
        views=struct("Views", {"global": Sounds(around="", gain=0.19, mask=_HIDDEN)}),
        data=Data(source=facts.source, batch_size=512),
        optim=Optim(name="adamw", lr=2e-4, weight_decay=1e-4, betas=_BETAS, warmup=3 / 33),
        train=Train(epochs=33),
    )
