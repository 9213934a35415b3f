"""Views of one photograph: torchvision's antialiased resize, then OpenCV on uint8.

Pixels are rounded to levels after every operation, as in Pillow's and torchvision's pipelines.
"""

from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from manyviews.views import colour
from manyviews.views.draw import BRIGHTNESS, CONTRAST, SATURATION, Draw
from manyviews.views.plan import Crops
from manyviews.views.resample import blur_radius

Bytes = NDArray[np.uint8]

_MOST = 4
"""Channels that every function of OpenCV takes."""


def make_large(image: Bytes, view: Draw, crops: Crops) -> Bytes:
    """[S, S, C] uint8: one view of an image [H, W, C] uint8."""
    x = _resize(image, view, crops)
    if view.jitter:
        for part in view.order:
            x = _adjust(x, part, view, crops)
    if view.grey and _is_rgb(x):
        x = _bytes(cv2.cvtColor(cv2.cvtColor(x, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB))
    if view.blur:
        x = _blur(x, view.sigma)
    if view.solarize:
        x = _bytes(cv2.min(x, cv2.bitwise_not(x)))
    return x.reshape(crops.size, crops.size, -1)


def resize(image: Bytes, *, height: int, width: int, interpolation: str) -> Bytes:
    """[height, width, C] uint8: an image [H, W, C] uint8 resized with antialiasing.

    Pillow's filters in torch's integer arithmetic: within one level of Pillow.
    """
    if image.shape[:2] == (height, width):
        return image
    # Copied where read-only, as Pillow's arrays can be: torch warns of memory it must not write to.
    planes = torch.from_numpy(np.require(image, requirements=["C", "W"])).permute(2, 0, 1)[None]
    out = F.interpolate(planes, size=(height, width), mode=interpolation, antialias=True)
    return np.ascontiguousarray(out[0].permute(1, 2, 0).numpy())


def _resize(image: Bytes, view: Draw, crops: Crops) -> Bytes:
    """[S, S, C] or [S, S]: OpenCV wants no axis for a single channel."""
    x = image[view.top : view.top + view.height, view.left : view.left + view.width]
    x = resize(x, height=crops.size, width=crops.size, interpolation=crops.interpolation)
    if view.flip:
        x = _in_parts(x, lambda part: cv2.flip(part, 1))
    return x.reshape(x.shape[:2]) if x.size == crops.size**2 else x


def _adjust(x: Bytes, part: int, view: Draw, crops: Crops) -> Bytes:
    if part == BRIGHTNESS:
        return _bytes(cv2.convertScaleAbs(x, alpha=view.brightness)) if crops.brightness else x
    if part == CONTRAST:
        return _contrast(x, view.contrast) if crops.contrast else x
    if not _is_rgb(x):
        return x
    if part == SATURATION:
        return _saturation(x, view.saturation) if crops.saturation else x
    return _hue(x, view.hue) if crops.hue else x


def _contrast(x: Bytes, factor: float) -> Bytes:
    grey = cv2.cvtColor(x, cv2.COLOR_RGB2GRAY) if _is_rgb(x) else x.reshape(len(x), -1)
    mean = cv2.mean(grey)[0]
    return _bytes(cv2.addWeighted(x, factor, x, 0, (1 - factor) * mean))


def _saturation(x: Bytes, factor: float) -> Bytes:
    matrix = factor * np.eye(3) + (1 - factor) * np.array(colour.LUMA)
    return _bytes(cv2.transform(x, matrix))


def _hue(x: Bytes, turns: float) -> Bytes:
    levels = np.array(cv2.split(x), dtype=np.int16)
    shift = np.array(turns, dtype=np.float32)
    colour.turn(levels, shift, wrap=abs(turns) > colour.WRAP_FREE_HUE)
    return _bytes(cv2.merge(list(levels.astype(np.uint8))))


def _blur(x: Bytes, sigma: float) -> Bytes:
    radius = min(int(blur_radius(np.array([sigma]))[0]), len(x) - 1)
    # Not cv2.GaussianBlur: its 8-bit kernel is off by a level and takes twice the time.
    kernel = cv2.getGaussianKernel(2 * radius + 1, sigma)

    def blurred(part: Bytes) -> object:
        return cv2.sepFilter2D(part, -1, kernel, kernel, borderType=cv2.BORDER_REFLECT_101)

    return _in_parts(x, blurred)


def _is_rgb(x: Bytes) -> bool:
    return x.ndim == 3 and x.shape[2] == 3


def _in_parts(x: Bytes, function: Callable[[Bytes], object]) -> Bytes:
    """Apply a function of OpenCV that treats channels alike, to a few channels at a time."""
    if x.ndim == 2 or x.shape[2] <= _MOST:
        return _bytes(function(x))
    parts = [x[..., first : first + _MOST] for first in range(0, x.shape[2], _MOST)]
    made = [_bytes(function(np.ascontiguousarray(part))) for part in parts]
    # OpenCV drops the axis of a single channel.
    return np.concatenate([part.reshape(*x.shape[:2], -1) for part in made], axis=2)


def _bytes(x: object) -> Bytes:
    """OpenCV's stubs do not say that uint8 gives uint8."""
    return np.asarray(x, dtype=np.uint8)
