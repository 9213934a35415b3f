"""Crops that then go through a few random operations, RandAugment: what InfoMin's networks see."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from manyviews.core.inputs import Input
from manyviews.core.ranges import Natural, NotNegative, Probability, Range
from manyviews.core.sample import Window
from manyviews.views.draw import family, streams, unit
from manyviews.views.image.crops import CropMaker, fed_pixels
from manyviews.views.image.whole import OfWhole
from manyviews.views.plan import Crops

_FIRST = 64
"""Element of a view's stream of random numbers; those of `draw` come before it."""
_EACH = 5
"""Random numbers of an operation: which, whether, how strong, sign, filter."""
MOST = 10.0
"""The greatest magnitude."""


@dataclass(frozen=True, kw_only=True)
class Augmented(Crops):
    """A family of crops of which each goes through `operations` of fifteen, drawn with replacement.

    How they are cut and coloured before that is said as of `Crops`. What moves in from outside the
    image has the mean that the encoder's input is less of.

    Attributes:
        operations: how many.
        magnitude: of each operation, from 0 to 10.
        spread: standard deviation of that.
        applied: probability that a drawn operation is done at all.
    """

    operations: Natural = 2
    magnitude: Annotated[float, Range("from 0 to 10", 0, MOST)] = 10.0
    spread: NotNegative = 0.5
    applied: Probability = 0.5

    def maker(self, name: str, input: Input, grid: tuple[int, ...], *, seed: int) -> "AugmentMaker":
        """What makes the views. Raises UsageError where the encoder is not fed images."""
        mean = fed_pixels(name, self.to, input).mean
        return AugmentMaker(self, CropMaker(self, name, input, grid, seed=seed), name, mean, seed)


class AugmentMaker(OfWhole):
    """Makes the views of one family: [V, S, S, C] uint8."""

    def __init__(
        self, plan: Augmented, crops: CropMaker, name: str, mean: Sequence[float], seed: int
    ) -> None:
        """Keep the maker of crops."""
        self._plan, self._crops, self._seed = plan, crops, seed
        self._family = family(f"{name}.operations")
        self.layout, self.cues = crops.layout, crops.cues
        channels = crops.layout.shape[-1]
        self._fill = [round(255 * mean[c % len(mean)]) for c in range(channels)]

    def __call__(
        self,
        decoded: Sequence[NDArray[np.uint8]],
        windows: Sequence[Window],
        index: int,
        epoch: int,
        out: NDArray[np.uint8],
        around: Sequence[Window] = (),
    ) -> Mapping[str, NDArray[Any]]:
        """Fill out [V, S, S, C] with augmented crops of one image; return the crops' cues."""
        cues = self._crops(decoded, windows, index, epoch, out)
        if not self._plan.operations:
            return cues
        states = streams(
            seed=self._seed,
            epoch=epoch,
            family=self._family,
            index=np.array([index]),
            count=self.layout.count,
        )[0]
        elements = range(_FIRST, _FIRST + self._plan.operations * _EACH)
        drawn = np.stack([unit(states, element) for element in elements], axis=1)
        for view, numbers in zip(out, drawn.reshape(len(out), -1, _EACH), strict=True):
            view[:] = self._augmented(view, numbers)
        return cues

    def _augmented(self, view: NDArray[np.uint8], drawn: NDArray[Any]) -> NDArray[np.uint8]:
        """[S, S, C] by operations whose random numbers are drawn [n, 5]."""
        plan, names = self._plan, list(OPERATIONS)
        for which, whether, strong, sign, smooth in drawn.tolist():
            if whether >= plan.applied:
                continue
            noise = NormalDist().inv_cdf(min(max(strong, 1e-9), 1 - 1e-9))
            level = min(max(plan.magnitude + plan.spread * noise, 0.0), MOST) / MOST
            view = operated(
                view,
                names[int(which * len(names))],
                level=level,
                negative=sign >= 0.5,
                fill=self._fill,
                cubic=smooth >= 0.5,
            )
        return view


def operated(
    view: NDArray[np.uint8],
    name: str,
    *,
    level: float,
    negative: bool,
    fill: Sequence[int],
    cubic: bool,
) -> NDArray[np.uint8]:
    """One operation on a view.

    Args:
        view: [S, S, C]; other than 3 channels are operated on one by one.
        name: in `OPERATIONS`.
        level: how strong, from 0 to 1; some operations have no strength.
        negative: turned, sheared or moved the other way round.
        fill: C values for what moves in.
        cubic: how pixels are found where that moves them, else bilinear.

    Returns:
        [S, S, C].

    Source: Cubuk et al. 2020 (RandAugment), with the strengths of HobbitLong/PyContrast
    pycontrast/datasets/RandAugment.py.
    """
    smooth = Image.Resampling.BICUBIC if cubic else Image.Resampling.BILINEAR
    signed = -level if negative else level
    if view.shape[-1] == 3:
        strength = Strength(level, signed, smooth, tuple(fill))
        return np.asarray(OPERATIONS[name](Image.fromarray(view), strength))
    planes = [
        np.asarray(OPERATIONS[name](Image.fromarray(plane), Strength(level, signed, smooth, value)))
        for plane, value in zip(np.ascontiguousarray(view.transpose(2, 0, 1)), fill, strict=True)
    ]
    return np.stack(planes, axis=-1)


@dataclass(frozen=True)
class Strength:
    """How an operation is done: `operated` says what each is."""

    level: float
    signed: float
    smooth: Image.Resampling
    fill: int | tuple[int, ...]

    @property
    def factor(self) -> float:
        """From 0.1 to 1.9, of an enhancement; 1 changes nothing."""
        return 0.1 + 1.8 * self.level


def _moved(image: Image.Image, matrix: tuple[float, ...], by: Strength) -> Image.Image:
    affine = Image.Transform.AFFINE
    return image.transform(image.size, affine, matrix, resample=by.smooth, fillcolor=by.fill)


def _lightened(image: Image.Image, by: Strength) -> Image.Image:
    """Up to 110 more, of values below 128."""
    more = int(by.level * 110)
    table = [min(255, value + more) if value < 128 else value for value in range(256)]
    return image.point(table * len(image.getbands()))


OPERATIONS: Mapping[str, Callable[[Image.Image, Strength], Image.Image]] = {
    "autocontrast": lambda image, _: ImageOps.autocontrast(image),
    "equalize": lambda image, _: ImageOps.equalize(image),
    "invert": lambda image, _: ImageOps.invert(image),
    "rotate": lambda image, by: image.rotate(30 * by.signed, resample=by.smooth, fillcolor=by.fill),
    "posterize": lambda image, by: ImageOps.posterize(image, int(4 * by.level)),
    "solarize": lambda image, by: ImageOps.solarize(image, int(256 * by.level)),
    "lighten": _lightened,
    "colour": lambda image, by: ImageEnhance.Color(image).enhance(by.factor),
    "contrast": lambda image, by: ImageEnhance.Contrast(image).enhance(by.factor),
    "brightness": lambda image, by: ImageEnhance.Brightness(image).enhance(by.factor),
    "sharpness": lambda image, by: ImageEnhance.Sharpness(image).enhance(by.factor),
    "shear_x": lambda image, by: _moved(image, (1, 0.3 * by.signed, 0, 0, 1, 0), by),
    "shear_y": lambda image, by: _moved(image, (1, 0, 0, 0.3 * by.signed, 1, 0), by),
    "move_x": lambda image, by: _moved(image, (1, 0, 0.45 * by.signed * image.width, 0, 1, 0), by),
    "move_y": lambda image, by: _moved(image, (1, 0, 0, 0, 1, 0.45 * by.signed * image.height), by),
}
"""Name -> what is done to an image."""
