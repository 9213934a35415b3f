"""What views a run makes of each image. Plain numbers; `draw` turns them into parameters."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from manyviews.core.ranges import Natural, NotNegative, Probability, Range


@dataclass(frozen=True, kw_only=True)
class Crops:
    """A family of `count` same-sized views, each a random crop with random colours.

    Operations run in this order: crop and resize, horizontal flip, colour jitter (its four parts
    in random order), greyscale, blur, solarise. Probabilities in `blur` and `solarize` are one
    number for all views, or one per view (BYOL's two views differ).

    Images may have any number of channels. Saturation, hue and greyscale mean something for red,
    green and blue alone: with other than 3 channels they are skipped. Contrast is around the mean
    over pixels of the grey image, which with other than 3 channels is their plain mean.

    Attributes:
        count: views per image; 0 for none.
        size: side of the square view, in pixels.
        scale: area of the crop as a share of the image, drawn uniformly.
        ratio: width over height of the crop, drawn log-uniformly.
        interpolation: both with antialiasing.
        flip: probability of a horizontal flip.
        jitter: probability of colour jitter.
        brightness: factor in [1-b, 1+b], as torchvision's ColorJitter; contrast, saturation too.
        hue: shift in [-h, h] of a full turn.
        grey: probability of greyscale.
        blur: probability of Gaussian blur.
        sigma: standard deviation of the blur in pixels, drawn uniformly.
        solarize: probability of inverting pixels of 128 and above.
    """

    count: Natural = 2
    size: Annotated[int, Range("2 or more pixels", 2)] = 224
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    flip: Probability = 0.5
    jitter: Probability = 0.8
    brightness: NotNegative = 0.4
    contrast: NotNegative = 0.4
    saturation: NotNegative = 0.4
    hue: Annotated[float, Range("a share of a turn from 0 to 0.5", 0, 0.5)] = 0.1
    grey: Probability = 0.2
    blur: tuple[float, ...] = (0.5,)
    sigma: tuple[float, float] = (0.1, 2.0)
    solarize: tuple[float, ...] = (0.0,)

    def wrong(self) -> Iterator[tuple[str, object, str]]:
        """Pairs out of order, and probabilities that are not one for all views or one for each."""
        area, ratio, sigma = self.scale, self.ratio, self.sigma
        if not 0 < area[0] <= area[1] <= 1:
            yield "scale", area, "shares with 0 < low <= high <= 1"
        if not 0 < ratio[0] <= ratio[1]:
            yield "ratio", ratio, "numbers with 0 < low <= high"
        if not 0 < sigma[0] <= sigma[1]:
            yield "sigma", sigma, "pixels with 0 < low <= high"
        for name, values in (("blur", self.blur), ("solarize", self.solarize)):
            right = len(values) in (1, self.count) or not self.count
            if not right or not all(0 <= value <= 1 for value in values):
                wanted = f"one probability from 0 to 1, or {self.count} of them, one per view"
                yield name, values, wanted


@dataclass(frozen=True, kw_only=True)
class Mask:
    """Random patch masks for the global views, given to the method as the cue "mask".

    Attributes:
        ratio: share of patches hidden, exact for every view; 0 for no masks.
        patch: side of a patch in pixels; the grid is size / patch on each side.
    """

    ratio: Annotated[float, Range("at least 0 and below 1", 0, 1, below=True)] = 0.0
    patch: int = 16


@dataclass(frozen=True, kw_only=True)
class Views:
    """The whole plan: global crops, local crops (multi-crop), masks."""

    global_: Annotated[Crops, tyro.conf.arg(name="global")] = field(default_factory=Crops)
    local: Crops = field(default_factory=lambda: Crops(count=0, size=96, scale=(0.05, 0.14)))
    mask: Mask = field(default_factory=Mask)

    def wrong(self) -> Iterator[tuple[str, object, str]]:
        """Masks whose patches do not fill the views."""
        mask, size = self.mask, self.global_.size
        if mask.ratio and not (mask.patch > 0 and size % mask.patch == 0):
            yield "mask.patch", mask.patch, f"a divisor of --views.global.size {size}"

    @property
    def makes(self) -> dict[str, int]:
        """View or cue name -> how many of it, to hold against `Method.needs`."""
        counts = {"global": self.global_.count, "local": self.local.count}
        return counts | {"mask": self.global_.count if self.mask.ratio > 0 else 0}
