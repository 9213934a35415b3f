"""Image methods on several pieces of a sound: SimCLR, BYOL as BYOL-A has it, and COLA.

Each piece is a window from anywhere in its sound. `audio-simclr` and `audio-byol` bend their
spectrograms; `cola` matches them as they are.
"""

from typing import Any

from manyviews.core.inputs import LogMel
from manyviews.core.schedules import Cosine
from manyviews.core.settings import struct
from manyviews.data.settings import Data
from manyviews.encoders.audio import AudioConvConfig
from manyviews.methods.contrastive.simclr import SimCLRConfig
from manyviews.methods.distillation.byol import BYOLConfig
from manyviews.recipes.audio import own
from manyviews.runs.settings import Facts, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.audio.sounds import Sounds

STREAMS = ("audio",)
"""What these recipes take of a sample."""

_MIX = 0.4
_CROP = (0.6, 1.5)
"""BYOL-A's: the share of another sound, and sides of a window of the spectrogram."""


def simclr(facts: Facts) -> Run[SimCLRConfig, Any, Any]:
    """Your own sounds, sized to the hardware: SimCLR on two bent pieces of each.

    Command: `manyviews train audio-simclr --data DIR`.
    """
    views = Sounds(
        count=2,
        around="",
        gain=0.5,
        noise=0.5,
        crop_time=_CROP,
        crop_bands=(0.8, 1.0),
        mask_time=0.2,
        mask_bands=0.2,
    )
    method = SimCLRConfig(temperature=0.2, hidden=512, out=128)
    return own.run(facts, name="audio-simclr", method=method, views=views)


def byol(facts: Facts) -> Run[BYOLConfig, Any, Any]:
    """Your own sounds, sized to the hardware: BYOL on two of BYOL-A's views of each.

    Command: `manyviews train audio-byol --data DIR`.
    """
    method = BYOLConfig(momentum=Cosine(0.99, 1.0), hidden=1024, out=128)
    return own.run(facts, name="audio-byol", method=method, views=_bent())


def cola(facts: Facts) -> Run[SimCLRConfig, Any, Any]:
    """Your own sounds, sized to the hardware: two plain pieces of each have to find each other.

    Command: `manyviews train cola --data DIR`. Saeed et al. 2021, arXiv:2010.10915, with its
    cosine similarity at a temperature of 0.2; theirs of all results is a bilinear form.
    """
    views = Sounds(count=2, around="", gain=0.0)
    method = SimCLRConfig(temperature=0.2, hidden=512, out=512)
    return own.run(facts, name="cola", method=method, views=views)


def byol_audioset(facts: Facts) -> Run[BYOLConfig, Any, Any]:
    """BYOL-A's settings for AudioSet, on AVID's network for sound in place of its own.

    Command: `manyviews train audio-byol-audioset --data DIR`. Source: nttcslab/byol-a config.yaml
    and train.py.
    """
    fed = LogMel(seconds=0.95, bins=64)
    return Run(
        recipe="audio-byol-audioset",
        method=BYOLConfig(momentum=Cosine(0.99, 0.99)),
        encoders=struct("Encoders", {"audio": AudioConvConfig(input=fed)}),
        views=struct("Views", {"global": _bent()}),
        data=Data(source=facts.source, batch_size=256),
        optim=Optim(name="adam", lr=3e-4, lr_per=0, lr_end=1.0, weight_decay=0.0, decay_all=True),
        train=Train(epochs=100),
    )


def _bent() -> Sounds:
    """BYOL-A's two views: another sound mixed in, then a window of the spectrogram."""
    return Sounds(count=2, around="", gain=0.0, mix=_MIX, crop_time=_CROP, crop_bands=_CROP)
