"""Random parameters of views, as a pure function of (seed, epoch, sample index, family, view).

Nothing here keeps state: every number is a hash of what it is for (Steele, Lea and Flood 2014,
"Fast splittable pseudorandom number generators", the finaliser of SplitMix64), so a view can be
made again from its name alone, in any order, in any process.
"""

import math
import zlib
from dataclasses import dataclass, fields
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyviews.core.sample import Floats
from manyviews.views.plan import Crops

_KNOWN = {"global": 0, "local": 1, "global.mask": 2}
"""What families were called before they had names."""

BRIGHTNESS, CONTRAST, SATURATION, HUE = 0, 1, 2, 3
ORDERS = np.array(list(permutations(range(4))), dtype=np.int8)
"""[24, 4]: the orders in which the four parts of colour jitter may run."""

_WORD = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15
_ATTEMPTS = 10
(
    _FLIP,
    _JITTER,
    _ORDER,
    _BRIGHTNESS,
    _CONTRAST,
    _SATURATION,
    _HUE,
    _GREY,
    _BLUR,
    _SIGMA,
    _SOLARIZE,
    _TOP,
    _LEFT,
) = range(13)
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Words = NDArray[np.uint64]

_ALL: Words = np.arange(13, dtype=np.uint64)
_BOX: Words = np.array([16, 32], dtype=np.uint64)
"""A crop's area and its ratio, of the first try."""


@dataclass(frozen=True)
class Draw:
    """The parameters of one view; fields as in `Draws`, one value each."""

    top: int
    left: int
    height: int
    width: int
    flip: bool
    jitter: bool
    order: tuple[int, ...]
    brightness: float
    contrast: float
    saturation: float
    hue: float
    grey: bool
    blur: bool
    sigma: float
    solarize: bool


@dataclass(frozen=True)
class Draws:
    """The parameters of V views of each of B samples; every array is [B, V].

    Attributes:
        top, left, height, width: int64, the crop in pixels of the source image.
        flip, jitter, grey, blur, solarize: bool, whether the operation runs.
        order: int8, a row of `ORDERS`.
        brightness, contrast, saturation: float64 factors.
        hue: float64, in turns, [-0.5, 0.5].
        sigma: float64, pixels.
    """

    top: Ints
    left: Ints
    height: Ints
    width: Ints
    flip: Bools
    jitter: Bools
    order: NDArray[np.int8]
    brightness: Floats
    contrast: Floats
    saturation: Floats
    hue: Floats
    grey: Bools
    blur: Bools
    sigma: Floats
    solarize: Bools

    def one(self, sample: int, view: int) -> Draw:
        """The parameters of one view."""
        plain: dict[str, Any] = {
            name: array[sample, view].item() for name, array in self._arrays().items()
        }
        plain["order"] = tuple(ORDERS[plain["order"]].tolist())
        return Draw(**plain)

    def take(self, rows: Ints | slice) -> "Draws":
        """The same for some of the samples."""
        return Draws(**{name: array[rows] for name, array in self._arrays().items()})

    def of(self, views: Ints) -> "Draws":
        """The same for some of the views."""
        return Draws(**{name: array[:, views] for name, array in self._arrays().items()})

    def flat(self) -> "Draws":
        """The same with [B * V] for [B, V]."""
        return Draws(**{name: array.reshape(-1) for name, array in self._arrays().items()})

    def _arrays(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


def family(name: str) -> int:
    """The number of a family by its name; different names share no random numbers.

    What else is drawn for a family has a name too, such as "global.mask".
    """
    return _KNOWN.get(name, zlib.crc32(name.encode()) + 16)


def draw(
    crops: Crops,
    *,
    seed: int,
    epoch: int,
    index: Ints,
    heights: Ints,
    widths: Ints,
    family: int,
) -> Draws:
    """Draw the parameters of `crops.count` views of each sample.

    Crops follow torchvision's RandomResizedCrop (Szegedy et al. 2015), colours its ColorJitter.

    Args:
        crops: the plan of this family.
        seed: of the run.
        epoch: counted from 0.
        index: [B] int64, positions in the data set.
        heights: [B] int64, of the images in pixels.
        widths: likewise.
        family: its number, of `family`.
    """
    states = streams(seed=seed, epoch=epoch, family=family, index=index, count=crops.count)
    drawn = units(
        states, _ALL
    )  # in one go: for a single image each call costs more than its numbers
    shape = states.shape
    boxes = _boxes(crops, states, heights, widths, drawn)
    return Draws(
        **boxes,
        flip=drawn[..., _FLIP] < crops.flip,
        jitter=drawn[..., _JITTER] < crops.jitter,
        order=(drawn[..., _ORDER] * len(ORDERS)).astype(np.int8),
        brightness=_factor(drawn[..., _BRIGHTNESS], crops.brightness),
        contrast=_factor(drawn[..., _CONTRAST], crops.contrast),
        saturation=_factor(drawn[..., _SATURATION], crops.saturation),
        hue=(2 * drawn[..., _HUE] - 1) * crops.hue,
        grey=drawn[..., _GREY] < crops.grey,
        blur=drawn[..., _BLUR] < np.broadcast_to(np.array(crops.blur), shape),
        sigma=_between(drawn[..., _SIGMA], *crops.sigma),
        solarize=drawn[..., _SOLARIZE] < np.broadcast_to(np.array(crops.solarize), shape),
    )


def streams(*, seed: int, epoch: int, family: int, index: Ints, count: int) -> Words:
    """[B, V] uint64: a stream of random words for each view of each sample."""
    key = 0
    for part in (seed, epoch, family):
        key = _mix_int((key + _GAMMA * ((part & _WORD) + 1)) & _WORD)
    samples = _mix(np.uint64(key) ^ (index.astype(np.uint64)[:, None] * np.uint64(_GAMMA)))
    views = np.arange(1, count + 1, dtype=np.uint64)[None, :] * np.uint64(_GAMMA)
    return _mix(samples + views)


def words(states: Words, slots: Words) -> Words:
    """[..., K] random words, uniform over 64 bits: element `slots[k]` of each stream."""
    return _mix(states[..., None] + (slots + np.uint64(1)) * np.uint64(_GAMMA))


def units(states: Words, slots: Words) -> Floats:
    """[..., K] random numbers in [0, 1) with 53 bits: element `slots[k]` of each stream."""
    return (words(states, slots) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def unit(states: Words, slot: int) -> Floats:
    """The same, of one element of each stream."""
    return units(states, np.array([slot], dtype=np.uint64))[..., 0]


def _mix(x: Words) -> Words:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _mix_int(x: int) -> int:
    return int(_mix(np.array([x], dtype=np.uint64))[0])


def _between(u: Floats, low: float, high: float) -> Floats:
    return low + (high - low) * u


def _factor(u: Floats, strength: float) -> Floats:
    return _between(u, max(0.0, 1 - strength), 1 + strength)


def _boxes(
    crops: Crops, states: Words, heights: Ints, widths: Ints, drawn: Floats
) -> dict[str, Ints]:
    """Crops as torchvision draws them: ten tries, then the largest central crop."""
    tall = np.broadcast_to(heights[:, None], states.shape)
    wide = np.broadcast_to(widths[:, None], states.shape)
    height, width = _fallback(crops, tall, wide)
    top, left = (tall - height) // 2, (wide - width) // 2
    pending = np.ones(states.shape, dtype=np.bool_)
    low, high = math.log(crops.ratio[0]), math.log(crops.ratio[1])
    for attempt in range(_ATTEMPTS):
        at = np.nonzero(pending)
        if not len(at[0]):
            break
        tried, h_max, w_max = states[at], tall[at], wide[at]
        shares = units(tried, _BOX + np.uint64(attempt))
        area = h_max * w_max * _between(shares[..., 0], *crops.scale)
        ratio = np.exp(_between(shares[..., 1], low, high))
        h = np.rint(np.sqrt(area / ratio)).astype(np.int64)
        w = np.rint(np.sqrt(area * ratio)).astype(np.int64)
        fits = (h > 0) & (h <= h_max) & (w > 0) & (w <= w_max)
        at = tuple(axis[fits] for axis in at)
        height[at], width[at], places = h[fits], w[fits], drawn[at]
        top[at] = (places[..., _TOP] * (h_max[fits] - h[fits] + 1)).astype(np.int64)
        left[at] = (places[..., _LEFT] * (w_max[fits] - w[fits] + 1)).astype(np.int64)
        pending[at] = False
    return {"top": top, "left": left, "height": height, "width": width}


def _fallback(crops: Crops, tall: Ints, wide: Ints) -> tuple[Ints, Ints]:
    ratio = wide / tall
    height = np.where(
        ratio < min(crops.ratio), np.rint(wide / min(crops.ratio)).astype(np.int64), tall
    )
    width = np.where(
        ratio > max(crops.ratio), np.rint(tall * max(crops.ratio)).astype(np.int64), wide
    )
    return height, width
