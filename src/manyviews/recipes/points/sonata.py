"""Sonata: for your own clouds, by voxels."""

from typing import Any

from manyviews.core.schedules import Cosine
from manyviews.core.settings import struct
from manyviews.methods.points.sonata import SonataConfig
from manyviews.recipes import small_data
from manyviews.recipes.points import own
from manyviews.runs.settings import Facts, Run

STREAMS = ("points",)
"""What these recipes take of a sample."""


def small(facts: Facts) -> Run[SonataConfig, Any, Any]:
    """Your own clouds, sized to the hardware.

    Command: `manyviews train sonata --data DIR`. The accuracy is not yet measured.
    """
    method = SonataConfig(
        hidden=512, bottleneck=64, prototypes=128, radius=0.2, places=32, momentum=Cosine(0.99, 1.0)
    )
    told = {"density": (1.0, 1.0), "drop": 0.0, "scale": (0.9, 1.1), "origin": True}
    return Run(
        recipe="sonata",
        method=method,
        encoders=struct("Encoders", {"points": own.voxels(facts)}),
        views=struct(
            "Views",
            {
                "global": own.clouds(cuboid=(0.6, 1.0), **told),
                "masked": own.clouds(cuboid=(0.6, 1.0), hide=0.7, cell=0.3, shake=0.05, **told),
                "part": own.clouds(cuboid=(0.3, 0.6), least=0.05, **told),
            },
        ),
        data=small_data.data(facts, largest=32),
        optim=own.OPTIM,
        train=small_data.duration(facts),
    )
