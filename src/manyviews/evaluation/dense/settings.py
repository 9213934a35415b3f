"""What the protocols of places in an image can be told."""

from dataclasses import dataclass
from typing import Annotated

from manyviews.core.ranges import (
    Count,
    Natural,
    NotNegative,
    Positive,
    Probability,
    Range,
    Seed,
    Several,
    Share,
)

DENSE_PROTOCOLS = {
    "segmentation": "Classes of pixels from patch features: a linear head, and kNN over patches.",
    "detection": "Boxes of things by a detector on the encoder, frozen or not; AP as COCO's.",
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
class Detection:
    """How a detector is trained on an encoder, by AdamW with warm-up and cosine.

    The defaults suit thumbnails and some thousand images on a CPU; ViTDet's own training of a
    whole ViT-B is in docs/dense.md.

    Attributes:
        blocks: the last blocks of the encoder that train; 0 for a frozen one, whose maps are made
            once, -1 for all of it.
        steps: of training.
        batch_size: images a step; never more than there are.
        lr: peak learning rate.
        layer_decay: factor on it for each layer of the encoder further from the output.
        weight_decay: of matrices.
        warmup: share of the steps over which the learning rate rises.
        flip: probability of a horizontal flip; of a frozen encoder's maps none is flipped.
        width: channels of the pyramid.
        proposals: for each image.
        seed: of everything random.
    """

    blocks: Annotated[float, Range("a number of blocks, 0.5, or -1 for all", 0, off=-1)] = 0.0
    steps: Count = 2000
    batch_size: Count = 16
    lr: Positive = 1e-3
    layer_decay: Annotated[float, Range("above 0 and up to 1", 0, 1, above=True)] = 0.7
    weight_decay: NotNegative = 0.1
    warmup: Share = 0.05
    flip: Probability = 0.5
    width: Count = 64
    proposals: Count = 200
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
