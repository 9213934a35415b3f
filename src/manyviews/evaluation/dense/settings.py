"""What the protocols of places in an image can be told."""

from dataclasses import dataclass

from manyviews.core.ranges import Count, Natural, Positive, Seed, Several

DENSE_PROTOCOLS = {
    "segmentation": "Classes of pixels from patch features: a linear head, and kNN over patches.",
    "propagation": "Masks of a video's first frame, led on by patch features; J&F as DAVIS's.",
    "discovery": "One object an image by LOST and by TokenCut, without labels; CorLoc.",
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


@dataclass(frozen=True, kw_only=True)
class Propagation:
    """How masks are led from frame to frame; the defaults are DINO's.

    Attributes:
        previous: frames before one that it takes from, besides the first.
        radius: rows and columns that a place may move between any two frames; 0 for all.
        top: places that one takes from.
        temperature: of their cosines.
        ignore: numbers in masks that are neither object nor ground, such as 255.
    """

    previous: Natural = 7
    radius: Natural = 12
    top: Count = 5
    temperature: Positive = 0.1
    ignore: tuple[int, ...] = (255,)
