"""Colour jitter, grey and levels of one view: planes x [C, P] float32 in [0, 255], in place.

Semantics of torchvision's ColorJitter on float images: results stay float32 and are clamped to
[0, 255] after each operation, as there; or those of SimCLR's or BYOL's code (`STYLES`). Any number
of planes will do: three are red, green and blue; saturation and hue leave any other as it is.
"""

import numpy as np
from numpy.typing import NDArray

from manyviews.views.draw import BRIGHTNESS, CONTRAST, HUE, SATURATION
from manyviews.views.image.compiled import compiled

Levels = NDArray[np.float32]

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601, as Pillow and torchvision)."""

STYLES = ("torchvision", "tensorflow", "tensorflow-add")
"""Whose colour jitter it is.

In the last two contrast is around each plane's own mean, and saturation scales that of HSV, cut at
1, which keeps the largest of red, green and blue (TensorFlow's `adjust_contrast` and
`adjust_saturation`; google-research/simclr data_util.py, deepmind-research
byol/utils/augmentations.py). In the last brightness is added, 255 (factor - 1), not multiplied.
"""

WRAP_FREE_HUE = 1 / 3
"""Up to this shift, in turns, a hue formula needs no wrapping at the far side of the circle."""

_RED, _GREEN, _BLUE = (np.float32(weight) for weight in LUMA)
_NONE, _FULL, _HALF, _ONE = np.float32(0), np.float32(255), np.float32(0.5), np.float32(1)
_CHUNK = 2048
"""Pixels whose planes stay in a core's first-level cache from one operation to the next."""


@compiled
def jitter(x: Levels, order: NDArray[np.int8], factors: Levels, style: int = 0) -> None:
    """Apply the parts of colour jitter that `order` names (`draw.BRIGHTNESS` ..., -1 for none).

    Args:
        x: planes.
        order: [4].
        factors: [4], by part; hue in turns, within [-0.5, 0.5].
        style: a place in `STYLES`.
    """
    if style:
        for part in order:
            _adjust_otherwise(x, part, factors, style)
        return
    at = 0
    while at < 4 and order[at] != CONTRAST:
        at += 1
    pixels, total = x.shape[1], 0
    for low in range(0, pixels, _CHUNK):
        high = min(low + _CHUNK, pixels)
        for part in order[:at]:
            _adjust(x, low, high, part, factors)
        if at < 4:
            total += _grey_total(x, low, high)
    if at == 4:
        return
    mean = np.float32(total) / np.float32(pixels)
    for low in range(0, pixels, _CHUNK):
        high = min(low + _CHUNK, pixels)
        _blend(x, low, high, factors[CONTRAST], mean)
        for part in order[at + 1 :]:
            _adjust(x, low, high, part, factors)


@compiled
def _adjust(x: Levels, low: int, high: int, part: int, factors: Levels) -> None:
    if part == BRIGHTNESS:
        _blend(x, low, high, factors[BRIGHTNESS], _NONE)
    elif part == SATURATION and len(x) == 3:
        _saturate(x[0], x[1], x[2], low, high, factors[SATURATION])
    elif part == HUE and len(x) == 3:
        _turn(x[0], x[1], x[2], low, high, factors[HUE])


@compiled
def _adjust_otherwise(x: Levels, part: int, factors: Levels, style: int) -> None:
    if part == CONTRAST:
        _contrast(x, factors[CONTRAST])
    elif part == SATURATION and len(x) == 3:
        _saturate_hsv(x[0], x[1], x[2], factors[SATURATION])
    elif part == BRIGHTNESS and style == 2:
        _add(x, _FULL * (factors[BRIGHTNESS] - _ONE))
    else:
        _adjust(x, 0, x.shape[1], part, factors)


@compiled
def _contrast(x: Levels, factor: np.float32) -> None:
    for c in range(len(x)):
        total = 0.0
        for i in range(x.shape[1]):
            total += x[c, i]
        rest = (_ONE - factor) * np.float32(total / x.shape[1])
        for i in range(x.shape[1]):
            x[c, i] = min(max(x[c, i] * factor + rest, _NONE), _FULL)


@compiled
def _add(x: Levels, level: np.float32) -> None:
    for c in range(len(x)):
        for i in range(x.shape[1]):
            x[c, i] = min(max(x[c, i] + level, _NONE), _FULL)


@compiled
def _saturate_hsv(red: Levels, green: Levels, blue: Levels, factor: np.float32) -> None:
    """Distances from the largest channel, V, times the factor; S = C / V is at most 1."""
    for i in range(len(red)):
        r, g, b = red[i], green[i], blue[i]
        most = max(max(r, g), b)
        chroma = most - min(min(r, g), b)
        by = factor if factor * chroma <= most else most / chroma
        red[i] = most - (most - r) * by
        green[i] = most - (most - g) * by
        blue[i] = most - (most - b) * by


@compiled
def _blend(x: Levels, low: int, high: int, factor: np.float32, level: np.float32) -> None:
    """Towards (or away from) one level."""
    rest = (_ONE - factor) * level
    for c in range(len(x)):
        for i in range(np.uint64(low), np.uint64(high)):
            x[c, i] = min(max(x[c, i] * factor + rest, _NONE), _FULL)


@compiled
def _saturate(
    red: Levels, green: Levels, blue: Levels, low: int, high: int, factor: np.float32
) -> None:
    rest = _ONE - factor
    for i in range(np.uint64(low), np.uint64(high)):
        r, g, b = red[i], green[i], blue[i]
        grey = (r * _RED + g * _GREEN + b * _BLUE) * rest
        red[i] = min(max(r * factor + grey, _NONE), _FULL)
        green[i] = min(max(g * factor + grey, _NONE), _FULL)
        blue[i] = min(max(b * factor + grey, _NONE), _FULL)


@compiled
def _turn(red: Levels, green: Levels, blue: Levels, low: int, high: int, turns: np.float32) -> None:
    """Turn the hue of HSV, keeping S and V.

    Without a division: with M and m the largest and smallest of r, g, b and C = M - m, the hue in
    sixths of a turn, times C, is H = sign(g - b) (C + g + b - r - m), in [-3C, 3C]; a channel
    whose primary stands at hue c is m + clip(||H - cC| - 3C| - C, 0, C), c = 0, 2, -2 for red,
    green and blue, where a distance beyond a full turn (6C) falls again, as 9C - |H - cC|.
    """
    sixths = np.float32(6) * turns
    for i in range(np.uint64(low), np.uint64(high)):
        r, g, b = red[i], green[i], blue[i]
        least = min(min(r, g), b)
        chroma = max(max(r, g), b) - least
        angle = chroma + g + b - r - least
        angle = (angle if g >= b else -angle) + chroma * sixths
        base = least - chroma
        double, triple = chroma + chroma, chroma + chroma + chroma
        red[i] = base + _height(abs(angle), chroma, double, triple)
        green[i] = base + _height(abs(angle - double), chroma, double, triple)
        blue[i] = base + _height(abs(angle + double), chroma, double, triple)


@compiled
def _height(
    away: np.float32, chroma: np.float32, double: np.float32, triple: np.float32
) -> np.float32:
    """C + clip(|distance - 3C| - C, 0, C) of a distance from a primary, times C."""
    out = min(abs(away - triple), triple * np.float32(3) - away)
    return min(max(out, chroma), double)


@compiled
def _grey_total(x: Levels, low: int, high: int) -> int:
    """The sum of the grey image, whose pixels are rounded to levels first, as Pillow's.

    Whole numbers add up to the same in any order.
    """
    total = 0
    if len(x) == 3:
        red, green, blue = x[0], x[1], x[2]
        for i in range(np.uint64(low), np.uint64(high)):
            grey = red[i] * _RED + green[i] * _GREEN + blue[i] * _BLUE
            total += int(np.int32(grey + _HALF))
        return total
    share = _ONE / np.float32(len(x))
    for i in range(np.uint64(low), np.uint64(high)):
        grey = _NONE
        for c in range(len(x)):
            grey += x[c, i] * share
        total += int(np.int32(grey + _HALF))
    return total


@compiled
def to_grey(x: Levels) -> None:
    """The luma of red, green and blue, not rounded, in the first plane: the others stay."""
    red, green, blue = x[0], x[1], x[2]
    for i in range(len(red)):
        red[i] = red[i] * _RED + green[i] * _GREEN + blue[i] * _BLUE
