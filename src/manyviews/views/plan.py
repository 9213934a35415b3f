"""What views a run makes of each image. Plain numbers; `draw` turns them into parameters."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro


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

    count: int = 2
    size: int = 224
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    flip: float = 0.5
    jitter: float = 0.8
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    grey: float = 0.2
    blur: tuple[float, ...] = (0.5,)
    sigma: tuple[float, float] = (0.1, 2.0)
    solarize: tuple[float, ...] = (0.0,)


@dataclass(frozen=True, kw_only=True)
class Mask:
    """Random patch masks for the global views, given to the method as the cue "mask".

    Attributes:
        ratio: share of patches hidden, exact for every view; 0 for no masks.
        patch: side of a patch in pixels; the grid is size / patch on each side.
    """

    ratio: float = 0.0
    patch: int = 16


@dataclass(frozen=True, kw_only=True)
class Views:
    """The whole plan: global crops, local crops (multi-crop), masks."""

    global_: Annotated[Crops, tyro.conf.arg(name="global")] = field(default_factory=Crops)
    local: Crops = field(default_factory=lambda: Crops(count=0, size=96, scale=(0.05, 0.14)))
    mask: Mask = field(default_factory=Mask)

    @property
    def makes(self) -> dict[str, int]:
        """View or cue name -> how many of it, to hold against `Method.needs`."""
        counts = {"global": self.global_.count, "local": self.local.count}
        return counts | {"mask": self.global_.count if self.mask.ratio > 0 else 0}
