"""Families of crops of an image, and masks. Plain numbers; `draw` makes parameters of them."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from manyviews.core.inputs import Input
from manyviews.core.ranges import Count, Natural, NotNegative, Probability, Range
from manyviews.core.sample import Maker

MaskKind = Literal[
    "random", "block", "around", "grid", "tube", "future", "between", "time", "band", "time-band"
]


@dataclass(frozen=True, kw_only=True)
class Mask:
    """Random masks over an encoder's tokens, given to the method as the cue "FAMILY.mask".

    Attributes:
        ratio: share of tokens hidden, exact for every view; 0 for no masks.
        kind: "random" tokens, rectangles of them as BEiT's ("block"), all but one rectangle, which
            goes on at the other side where it leaves the image ("around"), or all but every k-th of
            every k-th row ("grid"), where the ratio is 1 - 1/k^2 and every view has the same mask.
            Of clips "random" tokens of space and time, places that are hidden at all times
            ("tube"), the last times ("future"), or times in a row that some are seen before and
            some after ("between"). Of sounds "random" tokens, whole times ("time"), whole bands
            ("band"), or the same share of either, where what is seen lies in both a time and a band
            that are ("time-band"); as many tokens as whole rows and columns come nearest to.
        unit: of random masks: tokens are hidden in squares of so many a side (SimMIM).
    """

    ratio: Annotated[float, Range("at least 0 and below 1", 0, 1, below=True)] = 0.0
    kind: MaskKind = "random"
    unit: Count = 1

    def wrong(self) -> Iterator[tuple[str, object, str]]:
        """Ratios that no grid has, and squares of what is not drawn in squares."""
        step = round((1 - self.ratio) ** -0.5)
        if self.kind == "grid" and abs(1 - 1 / step**2 - self.ratio) > 0.005:
            yield "ratio", self.ratio, "0.75, 0.89 or another 1 - 1/k^2, as its kind is grid"
        if self.kind != "random" and self.unit > 1:
            yield "unit", self.unit, f"1, as its kind is {self.kind}"


@dataclass(frozen=True, kw_only=True)
class Crops:
    """A family of `count` same-sized views, each a random crop with random colours.

    Operations run in this order: crop and resize, horizontal flip, colour jitter (its four parts
    in random order), greyscale, blur, solarise. Probabilities in `blur` and `solarize` are one
    number for all views, or one per view (BYOL's two views differ).

    Images may have any number of channels. Saturation, hue and greyscale mean something for red,
    green and blue alone: with other than 3 channels they are skipped. Contrast is around the mean
    over pixels of the grey image, which with other than 3 channels is their plain mean, but for
    other kinds of `colour`.

    Attributes:
        to: the encoder that they are made for.
        of: the stream.
        count: views per image; 0 for none.
        size: side of the square view, in pixels; 0 for the encoder's own.
        scale: area of the crop as a share of the image, drawn uniformly.
        ratio: width over height of the crop, drawn log-uniformly.
        interpolation: "bilinear" and "bicubic" with antialiasing as Pillow's, "sharp-bicubic"
            without it as TensorFlow's.
        colour: whose contrast, saturation and brightness: "torchvision", or TensorFlow's,
            where "tensorflow-add" adds its brightness (`views.image.colour.STYLES`).
        flip: probability of a horizontal flip.
        jitter: probability of colour jitter.
        brightness: factor in [1-b, 1+b], as torchvision's ColorJitter; contrast, saturation too.
        hue: shift in [-h, h] of a full turn.
        grey: probability of greyscale.
        blur: probability of Gaussian blur.
        sigma: standard deviation of the blur in pixels, drawn uniformly.
        solarize: probability of inverting pixels of 128 and above.
        mask: tokens to hide, of views that are as large as the encoder's input.
    """

    to: str = "image"
    of: str = "image"
    count: Natural = 2
    size: Annotated[int, Range("2 or more pixels, or 0 for the encoder's", 2, off=0)] = 0
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: Literal["bilinear", "bicubic", "sharp-bicubic"] = "bilinear"
    colour: Literal["torchvision", "tensorflow", "tensorflow-add"] = "torchvision"
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
    mask: Mask = field(default_factory=Mask)

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

    @property
    def around(self) -> str:
        """Nothing: crops are cut around no other family."""
        return ""

    @property
    def cues(self) -> dict[str, int]:
        """Cue -> of how many views."""
        return {"mask": self.count} if self.mask.ratio else {}

    def alone(self) -> "Crops":
        """Unmasked, one at least, as large as the encoder is fed."""
        return replace(self, size=0, count=max(1, self.count), mask=Mask())

    def maker(self, name: str, input: Input, grid: tuple[int, ...], *, seed: int) -> Maker:
        """What makes the crops; `views.pipeline` makes all families of crops of a stream at once.

        Raises:
            UsageError: the encoder is not fed images, or the masks do not fit the views.
        """
        from manyviews.views.image.crops import CropMaker  # which needs this file

        return CropMaker(self, name, input, grid, seed=seed)
