"""What recipes for one's own sounds share: pieces, the network and how long, by the hardware."""

from dataclasses import replace
from typing import Any

from manyviews.core.inputs import LogMel
from manyviews.core.settings import struct
from manyviews.data.settings import Data
from manyviews.encoders.audio import AudioConvConfig
from manyviews.recipes import small_data
from manyviews.runs.settings import Facts, MethodConfig, Run
from manyviews.training.settings import Optim
from manyviews.views.audio.sounds import Sounds

LARGEST_BATCH = 128


def run(
    facts: Facts, *, name: str, method: MethodConfig, views: Sounds
) -> Run[MethodConfig, Any, Any]:
    """A joint-embedding run on pieces of sound, sized to the data and the machine.

    Args:
        facts: what is known of both.
        name: of the recipe.
        method: its config.
        views: of each sound.
    """
    return Run(
        recipe=name,
        method=method,
        encoders=struct("Encoders", {"audio": network(facts)}),
        views=struct("Views", {"global": views}),
        data=data(facts),
        optim=Optim(name="adamw", lr=4e-3, weight_decay=0.05, warmup=0.05),
        train=small_data.duration(facts),
    )


def data(facts: Facts) -> Data:
    """A batch that the data can fill at least twice, and no larger than `LARGEST_BATCH`."""
    filled = small_data.data(facts)
    return replace(filled, batch_size=min(LARGEST_BATCH, filled.batch_size))


def network(facts: Facts) -> AudioConvConfig:
    """AVID's network for sound, on a CPU a narrow one with half its convolutions; 64 mel bands."""
    gpu = facts.device != "cpu"
    fed = LogMel(seconds=1.0, bins=64)
    return AudioConvConfig(input=fed, width=64 if gpu else 16, depth=2 if gpu else 1)
