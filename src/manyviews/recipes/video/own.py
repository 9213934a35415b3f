"""What recipes for one's own videos share: clips, the network and how long, by the hardware."""

from dataclasses import replace
from typing import Any

from manyviews.core.inputs import Frames
from manyviews.core.settings import struct
from manyviews.encoders.slow import SlowConfig
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, MethodConfig, Run
from manyviews.training.settings import Optim
from manyviews.views.video.clips import Clips

LARGEST_BATCH = 64


def run(
    facts: Facts, *, name: str, method: MethodConfig, count: int = 2
) -> Run[MethodConfig, Any, Any]:
    """A joint-embedding run on clips, sized to the data and the machine.

    Args:
        facts: what is known of both.
        name: of the recipe.
        method: its config.
        count: clips of each video.
    """
    encoder = network(facts)
    data = small_data.data(facts)
    return Run(
        recipe=name,
        method=method,
        encoders=struct("Encoders", {"video": encoder}),
        views=struct("Views", {"global": clips(side=encoder.input.side, count=count)}),
        data=replace(data, batch_size=min(LARGEST_BATCH, data.batch_size)),
        optim=Optim(name="adamw", lr=4e-3, weight_decay=0.05, warmup=0.05),
        train=small_data.duration(facts),
    )


def fed(facts: Facts) -> Frames:
    """A second of video: 8 frames."""
    return Frames(side=112 if facts.device != "cpu" else 64, frames=8, rate=8.0)


def motion(fed: Frames) -> Frames:
    """The optical flow of the same frames: still is 0, and 5 pixels of 224 a frame are about 1."""
    return replace(fed, channels=2, mean=(128 / 255,), std=(0.125,))


def network(facts: Facts) -> SlowConfig:
    """A slow-only network of 18 layers, on a CPU of 10 narrow ones."""
    gpu = facts.device != "cpu"
    return SlowConfig(input=fed(facts), layers=18 if gpu else 10, width=64 if gpu else 16)


def clips(*, side: int, count: int) -> Clips:
    """Clips anywhere in a video, with the crops and colours of images.

    Args:
        side: of the encoder's input, in pixels.
        count: clips of each video.
    """
    return Clips(
        count=count,
        scale=(0.3, 1.0),
        jitter=0.8,
        hue=0.1,
        grey=0.2,
        blur=0.5,
        sigma=(0.1, max(1.0, 2.0 * side / 224)),
    )
