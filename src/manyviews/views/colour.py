"""Colour operations on many views at once: planes x [C, n, P] float32 in [0, 255], in place.

Semantics of torchvision's ColorJitter on float images; factors are [n]. Results stay float32 and
are clamped to [0, 255] after each operation, as there. Any number of planes will do: three are
red, green and blue; saturation and hue leave any other number as it is.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from manyviews.views.draw import BRIGHTNESS, CONTRAST, SATURATION, Floats
from manyviews.views.resample import Pixels

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601, as Pillow and torchvision)."""

_STEPS = 8
"""Hue works on whole eighths of a level in int16; sums reach 8 * 255 * _STEPS = 16320."""

WRAP_FREE_HUE = 1 / 3
"""Up to this shift, in turns, the hue formula needs no wrapping at the far side of the circle."""


def adjust(x: Pixels, part: int, factor: Floats, *, wrap: bool) -> None:
    """Apply one part of colour jitter (`draw.BRIGHTNESS` ...) with factors [n]."""
    if part == BRIGHTNESS:
        brightness(x, factor)
    elif part == CONTRAST:
        contrast(x, factor)
    elif part == SATURATION:
        saturation(x, factor)
    else:
        hue(x, factor, wrap=wrap)


def grey(x: Pixels) -> Pixels:
    """[n, P], not rounded: the luma of red, green and blue, the plain mean of other planes."""
    if len(x) == 1:
        return x[0]
    weights = LUMA if len(x) == 3 else (1 / len(x),) * len(x)
    out = x[0] * np.float32(weights[0])
    for plane, weight in zip(x[1:], weights[1:], strict=True):
        out += plane * np.float32(weight)
    return out


def brightness(x: Pixels, factor: Floats) -> None:
    """Multiply by the factor."""
    x *= _column(factor)
    _clamp(x)


def contrast(x: Pixels, factor: Floats) -> None:
    """Blend with the mean of the grey image, whose pixels are rounded to levels first.

    The rounding (Pillow's) makes the sum exact: whole numbers below 2^24 for P <= 256 * 256.
    """
    mean = np.rint(grey(x)).sum(axis=-1) / np.float32(x.shape[-1])
    factors = factor.astype(np.float32)
    x *= factors[:, None]
    x += ((1 - factors) * mean)[:, None]
    _clamp(x)


def saturation(x: Pixels, factor: Floats) -> None:
    """Blend with the grey image; needs red, green and blue."""
    if len(x) != 3:
        return
    blend = grey(x)
    blend *= _column(1 - factor)
    x *= _column(factor)
    x += blend
    _clamp(x)


def hue(x: Pixels, turns: Floats, *, wrap: bool) -> None:
    """Turn the hue of HSV, keeping S and V, to 1/8 of a level; needs red, green and blue.

    Args:
        x: planes.
        turns: [n], within [-0.5, 0.5].
        wrap: needed when some |turns| exceed `WRAP_FREE_HUE`; harmless otherwise.
    """
    if len(x) != 3:
        return
    levels = (x * np.float32(_STEPS) + np.float32(0.5)).astype(np.int16)
    turn(levels, _column(turns), wrap=wrap)
    np.multiply(levels, np.float32(1 / _STEPS), out=x)


def turn(levels: NDArray[np.int16], turns: Pixels, *, wrap: bool) -> None:
    """Turn the hue of red, green and blue planes [3, ...] int16 in [0, 2040], in place.

    Without a division: with M and m the largest and smallest of r, g, b and C = M - m, the hue in
    sixths of a turn, times C, is H = sign(g - b) (C + g + b - r - m); a channel whose primary
    stands at hue c is m + clip(||H - cC| - 3C| - C, 0, C), c = 0, 2, -2 for red, green and blue.
    The one rounding is of the shift times C, to a whole step.
    """
    red, green, blue = levels
    low = np.minimum(np.minimum(red, green), blue)
    chroma = np.maximum(np.maximum(red, green), blue)
    chroma -= low
    side = (green - blue) >> 15
    angle = green + blue
    angle -= red
    angle -= low
    angle += chroma
    angle ^= side
    angle -= side
    angle += np.rint(chroma * (6 * turns)).astype(np.int16)
    wheel = _Wheel(low - chroma, chroma, chroma * np.int16(2), chroma * np.int16(3))
    for plane, shifted in enumerate((angle, angle - wheel.double, angle + wheel.double)):
        np.add(wheel.base, wheel.height(shifted, wrap=wrap), out=levels[plane])


@dataclass(frozen=True)
class _Wheel:
    """m - C, C, 2C and 3C of every pixel, int16."""

    base: NDArray[np.int16]
    chroma: NDArray[np.int16]
    double: NDArray[np.int16]
    triple: NDArray[np.int16]

    def height(self, shifted: NDArray[np.int16], *, wrap: bool) -> NDArray[np.int16]:
        """C + clip(|distance - 3C| - C, 0, C) of a distance from a primary, times C."""
        away = np.abs(shifted)
        out = np.abs(away - self.triple)
        if wrap:
            # Beyond a full turn (6C) the distance falls again: 9C - away.
            np.minimum(out, self.triple * np.int16(3) - away, out=out)
        # Against arrays: with a scalar operand numpy's minimum is ten times slower.
        np.maximum(out, self.chroma, out=out)
        return np.minimum(out, self.double, out=out)


def _column(factor: Floats) -> Pixels:
    return factor.astype(np.float32)[:, None]


def _clamp(x: Pixels) -> None:
    np.clip(x, 0, 255, out=x)
