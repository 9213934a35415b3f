"""All views of many small images at once, with plain numpy on float planes [C, n, pixels].

Views are sorted by what colour jitter does to them, so that each operation runs on a whole slice.
Resampling is exact (see `resample`), sums are of whole numbers, and everything else is one rounded
operation per pixel; so a view does not depend on the batch that it is made in, to the last bit.
"""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from manyviews.views import colour
from manyviews.views.draw import BRIGHTNESS, CONTRAST, HUE, ORDERS, SATURATION, Draws, Ints
from manyviews.views.plan import Crops
from manyviews.views.resample import Pixels, blur_weights, resize_weights

Bytes = NDArray[np.uint8]

_CACHED = 100_000
"""Floats of a slice that stay in a core's second-level cache together with temporaries."""

_FACTOR = {
    BRIGHTNESS: "brightness",
    CONTRAST: "contrast",
    SATURATION: "saturation",
    HUE: "hue",
}


def make_small(images: Bytes, draws: Draws, crops: Crops) -> Bytes:
    """[B, V, S, S, C] uint8 views of images [B, H, W, C] uint8, as `draws` says.

    H and W may be larger than an image was; `draws` keeps crops inside it.
    """
    batch, _, _, channels = images.shape
    count, size = draws.top.shape[1], crops.size
    planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32)
    every = draws.flat()
    out = np.empty((batch * count, size, size, channels), dtype=np.uint8)
    wrap = crops.hue > colour.WRAP_FREE_HUE
    for parts, rows in _slices(every, crops, channels):
        views = every.take(rows)
        x = _resize(planes[rows // count], views, crops)
        for part in parts:
            colour.adjust(x, part, getattr(views, _FACTOR[part]), wrap=wrap)
        if channels == 3 and views.grey.any():
            x[:, views.grey] = colour.grey(x[:, views.grey])
        if views.blur.any():
            x[:, views.blur] = _blur(x[:, views.blur], views.sigma[views.blur], size)
        made = _levels(x).reshape(len(rows), size, size, channels)
        if views.solarize.any():
            made[views.solarize] = np.minimum(made[views.solarize], ~made[views.solarize])
        out[rows] = made
    return out.reshape(batch, count, size, size, channels)


def _slices(every: Draws, crops: Crops, channels: int) -> Iterator[tuple[tuple[int, ...], Ints]]:
    """Yield (parts of jitter in order, rows that want just these), a cache's worth at a time."""
    strengths = (crops.brightness, crops.contrast, crops.saturation, crops.hue)
    usable = 4 if channels == 3 else 2
    active = [part for part in range(usable) if strengths[part] > 0]
    sequences = [tuple(int(part) for part in order if part in active) for order in ORDERS]
    distinct = [(), *sorted(set(sequences) - {()})]
    kind = np.array([distinct.index(sequence) for sequence in sequences])
    kinds = np.where(every.jitter, kind[every.order], 0)
    step = max(1, _CACHED // (crops.size**2 * channels))
    ordered = np.argsort(kinds, kind="stable")
    ends = np.cumsum(np.bincount(kinds, minlength=len(distinct)))
    for parts, rows in zip(distinct, np.split(ordered, ends[:-1]), strict=True):
        for first in range(0, len(rows), step):
            yield parts, rows[first : first + step]


def _resize(x: Pixels, views: Draws, crops: Crops) -> Pixels:
    """[C, n, S*S] whole levels: x [n, C, H, W] cropped, resized and flipped.

    Rounded to levels between the two directions, as Pillow does.
    """
    n, channels, height, width = x.shape
    size, how = crops.size, crops.interpolation
    across = resize_weights(
        views.left, views.width, extent=width, size=size, flip=views.flip, interpolation=how
    )
    down = resize_weights(
        views.top, views.height, extent=height, size=size, flip=None, interpolation=how
    )
    rows = x.reshape(n, channels * height, width) @ across.transpose(0, 2, 1)
    _round(rows, clip=how == "bicubic")
    out = np.empty((channels, n, size, size), dtype=np.float32)
    columns = rows.reshape(n, channels, height, size)
    np.matmul(down[:, None], columns, out=out.transpose(1, 0, 2, 3))
    _round(out, clip=how == "bicubic")
    return out.reshape(channels, n, size * size)


def _blur(x: Pixels, sigma: NDArray[np.float64], size: int) -> Pixels:
    """[C, n, S*S]: x [C, n, S*S] blurred, exact to a quarter of a level."""
    weights = blur_weights(sigma, size=size)
    rows = _quarters(x).reshape(len(x), -1, size, size) @ weights.transpose(0, 2, 1)
    return (weights @ _quarters(rows)).reshape(x.shape)


def _quarters(x: Pixels) -> Pixels:
    return np.rint(x * np.float32(4)) * np.float32(0.25)


def _round(x: Pixels, *, clip: bool) -> None:
    """Round halves up, in place."""
    x += np.float32(0.5)
    np.floor(x, out=x)
    if clip:
        np.clip(x, 0, 255, out=x)


def _levels(x: Pixels) -> Bytes:
    """[n, P, C] uint8, nearest levels of x [C, n, P]."""
    x += np.float32(0.5)
    levels = x.astype(np.uint8)
    if len(levels) == 1:
        return levels[0][..., None]
    return np.asarray(cv2.merge(list(levels)), dtype=np.uint8)
