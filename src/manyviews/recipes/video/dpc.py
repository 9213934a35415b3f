"""DPC and MemDPC: for your own videos, and after the authors' trainings on Kinetics."""

from dataclasses import replace
from typing import Any

from manyviews.core.inputs import Frames
from manyviews.core.settings import parts, struct
from manyviews.data.settings import Data
from manyviews.encoders.slow import SlowConfig
from manyviews.methods.contrastive.dpc import DPCConfig
from manyviews.methods.contrastive.memdpc import MemDPCConfig
from manyviews.recipes.video import own
from manyviews.runs.settings import Facts, MethodConfig, Run
from manyviews.training.settings import Optim, Train
from manyviews.views.video.clips import Clips

STREAMS = ("video",)
"""What these recipes take of a sample."""


def small(facts: Facts) -> Run[DPCConfig, Any, Any]:
    """Your own videos, sized to the hardware: of six clips of a quarter of a second predict two.

    Command: `manyviews train dpc --data DIR`; `--method.predict 3 --views.global.count 8` is the
    authors' plan.
    """
    return _run(facts, "dpc", DPCConfig(predict=2))


def memory(facts: Facts) -> Run[MemDPCConfig, Any, Any]:
    """Your own videos, sized to the hardware: the same by mixtures of 256 slots, both ways in time.

    Command: `manyviews train memdpc --data DIR`; `--method.predict 3 --method.slots 1024
    --views.global.count 8` is the authors' plan.
    """
    return _run(facts, "memdpc", MemDPCConfig(predict=2, slots=256))


def kinetics(facts: Facts) -> Run[DPCConfig, Any, Any]:
    """After the authors' ResNet-18 at 128 pixels on Kinetics-400: eight clips of five frames.

    Command: `torchrun --nproc-per-node 2 -m manyviews train dpc-kinetics --data DIR`. Source:
    TengdaHan/DPC README.md, dpc/main.py. The network is a slow-only one, where theirs has other
    convolutions over time, no ReLU at its end and 256 channels; colours are drawn once for a video.
    """
    return _kinetics(
        facts,
        "dpc-kinetics",
        DPCConfig(),
        encoder=SlowConfig(input=Frames(side=128, frames=5, rate=6.0), layers=18),
        batch=128,
        epochs=300,
        lr_end=1.0,
        grey=0.5,
    )


def memory_kinetics(facts: Facts) -> Run[MemDPCConfig, Any, Any]:
    """After the authors' ResNet-34 at 224 pixels on Kinetics-400: the same with a memory.

    Command: `torchrun --nproc-per-node 4 -m manyviews train memdpc-kinetics --data DIR`. Source:
    TengdaHan/MemDPC readme.md, memdpc/main.py, whose rate falls to a tenth after 120 and after 160
    epochs, where this falls by a cosine. Of the network and of colours as for DPC.
    """
    return _kinetics(
        facts,
        "memdpc-kinetics",
        MemDPCConfig(),
        encoder=SlowConfig(input=Frames(frames=5, rate=10.0), layers=34),
        batch=64,
        epochs=200,
        lr_end=0.01,
        grey=0.25,
    )


def _run(facts: Facts, name: str, method: MethodConfig) -> Run[MethodConfig, Any, Any]:
    """Six clips in a row, of four frames each, that have one crop and one set of colours."""
    run = own.run(facts, name=name, method=method, count=6)
    encoder, clips = parts(run.encoders)["video"], parts(run.views)["global"]
    fed = replace(encoder.input, frames=4, rate=16.0)
    return replace(
        run,
        encoders=struct("Encoders", {"video": replace(encoder, input=fed)}),
        views=struct("Views", {"global": replace(clips, times="in-a-row", alike=True)}),
    )


def _kinetics(
    facts: Facts,
    name: str,
    method: MethodConfig,
    *,
    encoder: SlowConfig,
    batch: int,
    epochs: int,
    lr_end: float,
    grey: float,
) -> Run[MethodConfig, Any, Any]:
    """What both of the authors' trainings share."""
    clips = Clips(
        count=8,
        times="in-a-row",
        alike=True,
        scale=(0.5, 1.0),
        brightness=0.5,
        contrast=0.5,
        saturation=0.5,
        hue=0.25,
        grey=grey,
    )
    return Run(
        recipe=name,
        method=method,
        encoders=struct("Encoders", {"video": encoder}),
        views=struct("Views", {"global": clips}),
        data=Data(source=facts.source, batch_size=batch),
        optim=Optim(
            name="adam", lr=1e-3, lr_per=0, lr_end=lr_end, weight_decay=1e-5, decay_all=True
        ),
        train=Train(epochs=epochs),
    )
