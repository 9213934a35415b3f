"""PointContrast: for your own clouds, two crops of each."""

from typing import Any

from manyviews.core.settings import struct
from manyviews.methods.points.pointcontrast import PointContrastConfig
from manyviews.recipes import small_data
from manyviews.recipes.points import own
from manyviews.runs.settings import Facts, Run

STREAMS = ("points",)
"""What these recipes take of a sample."""


def small(facts: Facts) -> Run[PointContrastConfig, Any, Any]:
    """Your own clouds, by the loss of PointInfoNCE, sized to the hardware.

    Command: `manyviews train pointcontrast --data DIR`. The accuracy is not yet measured.
    """
    return _run(facts, "pointcontrast", PointContrastConfig(pairs=128, radius=0.05))


def hardest(facts: Facts) -> Run[PointContrastConfig, Any, Any]:
    """Your own clouds, by the hardest-contrastive loss, sized to the hardware.

    Command: `manyviews train pointcontrast-hardest --data DIR`. The accuracy is not yet measured.
    """
    method = PointContrastConfig(loss="hardest", pairs=128, candidates=64, radius=0.05)
    return _run(facts, "pointcontrast-hardest", method)


def _run(
    facts: Facts, name: str, method: PointContrastConfig
) -> Run[PointContrastConfig, Any, Any]:
    encoder = own.pointnet(facts)
    return Run(
        recipe=name,
        method=method,
        encoders=struct("Encoders", {"points": own.pointnet(facts, up=len(encoder.centres))}),
        views=struct(
            "Views", {"global": own.clouds(cuboid=(0.6, 1.0), density=(1.0, 1.0), origin=True)}
        ),
        data=small_data.data(facts, largest=32),
        optim=own.OPTIM,
        train=small_data.duration(facts),
    )
