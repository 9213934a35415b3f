"""What families of small pieces of an image share: their colours, and how they are cut."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from manyviews.core.ranges import NotNegative, Probability, Range
from manyviews.views.draw import Draws, draw
from manyviews.views.image.make import make
from manyviews.views.plan import Crops


@dataclass(frozen=True, kw_only=True)
class Coloured:
    """How each piece is flipped and coloured, by itself.

    Attributes:
        flip: probability that a piece is flipped horizontally.
        jitter: probability of a piece's colour jitter.
        brightness: factor in [1-b, 1+b], as torchvision's ColorJitter; contrast, saturation too.
        hue: shift in [-h, h] of a full turn.
        grey: probability that a piece is greyscale.
    """

    flip: Probability = 0.5
    jitter: Probability = 0.8
    brightness: NotNegative = 0.4
    contrast: NotNegative = 0.4
    saturation: NotNegative = 0.4
    hue: Annotated[float, Range("a share of a turn from 0 to 0.5", 0, 0.5)] = 0.1
    grey: Probability = 0.25

    def whole(self, *, count: int, size: int) -> Crops:
        """A plan that takes `count` pieces whole, as squares of a side, and colours each."""
        return Crops(
            count=count,
            size=size,
            scale=(1.0, 1.0),
            ratio=(1.0, 1.0),
            flip=self.flip,
            jitter=self.jitter,
            brightness=self.brightness,
            contrast=self.contrast,
            saturation=self.saturation,
            hue=self.hue,
            grey=self.grey,
            blur=(0.0,),
        )


def square(*, size: int, scale: tuple[float, float]) -> Crops:
    """A plan of one random crop of an image as a square, which pieces are cut from."""
    return Crops(count=1, size=size, scale=scale, flip=0.0, jitter=0.0, grey=0.0, blur=(0.0,))


def cut(
    images: NDArray[np.uint8], crops: Crops, *, family: int, seed: int, index: int, epoch: int
) -> NDArray[np.uint8]:
    """[n, 1, S, S, C]: image k [n, H, W, C] as view k of one sample."""
    sides = np.array([images.shape[1:3]], dtype=np.int64)
    draws = draw(
        crops,
        seed=seed,
        epoch=epoch,
        index=np.array([index]),
        heights=sides[:, 0],
        widths=sides[:, 1],
        family=family,
    )
    return make(images, _apart(draws), crops)


def _apart(draws: Draws) -> Draws:
    """[1, n] -> [n, 1]."""
    return Draws(**{name: value[0][:, None] for name, value in vars(draws).items()})
