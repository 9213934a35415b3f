"""What the protocols of places in an image can be told."""

from dataclasses import dataclass

from manyviews.core.ranges import Seed, Several

DENSE_PROTOCOLS = {
    "segmentation": "Classes of pixels from patch features: a linear head, and kNN over patches.",
}
"""Protocols that read masks or boxes beside images, by name, each with a line about it."""


@dataclass(frozen=True, kw_only=True)
class Segmentation:
    """How patch features are judged by masks.

    Attributes:
        ignore: numbers in masks that are no class, such as 255 of VOC's borders.
        patches: training patches that are learnt from at most, drawn from all.
        seed: of what is drawn, and of the images that settings are chosen on.
    """

    ignore: tuple[int, ...] = (255,)
    patches: Several = 20_000
    seed: Seed = 0
