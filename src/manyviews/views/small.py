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
from manyviews.views.resample import BlurTable, Pixels, ResizeTable

Bytes = NDArray[np.uint8]

_CACHED = 100_000
"""Floats of a slice that stay in a core's second-level cache together with temporaries."""

_FACTOR = {
    BRIGHTNESS: "brightness",
    CONTRAST: "contrast",
    SATURATION: "saturation",
    HUE: "hue",
}


class Small:
    """Makes the views of one family.

    Attributes:
        crops: the plan of the family.
        channels: of every image.
    """

    def __init__(self, crops: Crops, *, channels: int) -> None:
        """Prepare the tables that all batches share."""
        self.crops = crops
        self.channels = channels
        self._resize_table = ResizeTable(crops.size, crops.interpolation)
        self._blur_table = BlurTable(crops.size, crops.sigma[1])
        self._wrap = crops.hue > colour.WRAP_FREE_HUE
        strengths = (crops.brightness, crops.contrast, crops.saturation, crops.hue)
        active = [part for part in range(4 if channels == 3 else 2) if strengths[part] > 0]
        chains = [tuple(int(part) for part in order if part in active) for order in ORDERS]
        self._chains = [(), *sorted(set(chains) - {()})]
        self._chain_of_order = np.array([self._chains.index(chain) for chain in chains])

    def __call__(self, images: Bytes, draws: Draws) -> Bytes:
        """[B, V, S, S, C] uint8 views of images [B, H, W, C] uint8, as `draws` says.

        H and W may be larger than an image was; `draws` keeps crops inside it.
        """
        batch, count, size = len(images), self.crops.count, self.crops.size
        planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32)
        every = draws.flat()
        out = np.empty((batch * count, size, size, self.channels), dtype=np.uint8)
        for parts, rows in self._slices(every):
            out[rows] = self._slice(planes[rows // count], every.take(rows), parts)
        return out.reshape(batch, count, size, size, self.channels)

    def _slices(self, every: Draws) -> Iterator[tuple[tuple[int, ...], Ints]]:
        """Yield (parts of jitter in order, rows that want just these), a cache's worth at a time.

        Within each, rows to be blurred come last.
        """
        chain = np.where(every.jitter, self._chain_of_order[every.order], 0)
        ordered = np.argsort(2 * chain + every.blur, kind="stable")
        ends = np.cumsum(np.bincount(chain, minlength=len(self._chains)))
        step = max(1, _CACHED // (self.crops.size**2 * self.channels))
        for parts, rows in zip(self._chains, np.split(ordered, ends[:-1]), strict=True):
            for first in range(0, len(rows), step):
                yield parts, rows[first : first + step]

    def _slice(self, images: Pixels, views: Draws, parts: tuple[int, ...]) -> Bytes:
        size = self.crops.size
        x = self._resized(images, views)
        for part in parts:
            colour.adjust(x, part, getattr(views, _FACTOR[part]), wrap=self._wrap)
        if self.channels == 3 and views.grey.any():
            x[:, views.grey] = colour.grey(x[:, views.grey])
        blurred = int(views.blur.sum())
        if blurred:
            self._blur(x[:, -blurred:], views.sigma[-blurred:])
        made = _levels(x).reshape(-1, size, size, self.channels)
        if views.solarize.any():
            made[views.solarize] = np.minimum(made[views.solarize], ~made[views.solarize])
        return made

    def _resized(self, x: Pixels, views: Draws) -> Pixels:
        """[C, n, S*S] whole levels: x [n, C, H, W] cropped, resized and flipped.

        Rounded to levels between the two directions, as Pillow does.
        """
        n, channels, height, width = x.shape
        size, clip = self.crops.size, self.crops.interpolation == "bicubic"
        across = self._resize_table(views.left, views.width, extent=width)
        across[views.flip] = across[views.flip, ::-1]
        down = self._resize_table(views.top, views.height, extent=height)
        rows = x.reshape(n, channels * height, width) @ across.transpose(0, 2, 1)
        _round(rows, clip=clip)
        out = np.empty((channels, n, size, size), dtype=np.float32)
        columns = rows.reshape(n, channels, height, size)
        np.matmul(down[:, None], columns, out=out.transpose(1, 0, 2, 3))
        _round(out, clip=clip)
        return out.reshape(channels, n, size * size)

    def _blur(self, x: Pixels, sigma: NDArray[np.float64]) -> None:
        """Blur x [C, n, S*S] in place; exact for pixels rounded to a quarter of a level."""
        size = self.crops.size
        weights = self._blur_table(sigma)
        rows = _quarters(x).reshape(len(x), -1, size, size) @ weights.transpose(0, 2, 1)
        x[...] = (weights @ _quarters(rows)).reshape(x.shape)


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
    if len(levels) == 3:  # the usual number, and ten times as fast
        return np.asarray(cv2.merge(list(levels)), dtype=np.uint8)
    return np.ascontiguousarray(np.moveaxis(levels, 0, -1))
