"""The deterministic transform of evaluation and embedding, and normalisation."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

Bytes = NDArray[np.uint8]

_PHOTOGRAPH = 96
"""From this side on, images are resized a little larger and cropped, as ImageNet protocols do."""

_CACHED = 1 << 17
"""Floats that stay in a core's second-level cache."""


class Plain:
    """One fixed view of each image, antialiased.

    Sides of 96 and more: the shorter side becomes side * 256 / 224, then the central square is
    cut out. Smaller: the whole image becomes the square (thumbnails have no border to spare).

    Attributes:
        size: side S of the result, in pixels.
        channels: of every image.
        mean: per channel, of pixels in [0, 1]; one number serves all.
        std: likewise.
    """

    def __init__(
        self, size: int, *, channels: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        """Keep the numbers; nothing is read or drawn."""
        self.size = size
        self.channels = channels
        self.mean = tuple(mean)
        self.std = tuple(std)

    def uint8(self, images: Sequence[Bytes] | Bytes) -> Bytes:
        """[B, S, S, C] uint8 of images [H, W, C] uint8."""
        out = np.empty((len(images), self.size, self.size, self.channels), dtype=np.uint8)
        for row, image in zip(out, images, strict=True):
            row[...] = self._one(image)
        return out

    def __call__(self, images: Sequence[Bytes] | Bytes) -> Tensor:
        """[B, C, S, S] float32, normalised, of images [H, W, C] uint8."""
        return normalise(torch.from_numpy(self.uint8(images)), self.mean, self.std)

    def _one(self, image: Bytes) -> Bytes:
        size = self.size
        if size < _PHOTOGRAPH:
            return resize(image, height=size, width=size, interpolation="bilinear")
        short = size * 256 // 224
        height, width = image.shape[:2]
        # Truncated as torchvision's Resize does.
        if height <= width:
            height, width = short, int(short * width / height)
        else:
            height, width = int(short * height / width), short
        image = resize(image, height=height, width=width, interpolation="bilinear")
        top, left = round((height - size) / 2), round((width - size) / 2)
        return image[top : top + size, left : left + size]


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


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """[..., C, H, W] float32, (x / 255 - mean) / std, of images [..., H, W, C] uint8.

    The result keeps the order in memory of the input: it is channels-last.

    Args:
        images: any leading dimensions, any device.
        mean: per channel, of pixels in [0, 1]; one number serves all channels.
        std: likewise.
    """
    width, channels = images.shape[-2:]
    # Whole rows at once: broadcasting over an innermost axis of three is several times slower.
    center = torch.tensor(mean, dtype=torch.float32).expand(width, channels).flatten()
    scale = torch.tensor(std, dtype=torch.float32).expand(width, channels).flatten()
    factor, shift = (1 / (255 * scale)).to(images.device), (-center / scale).to(images.device)
    stored = images.reshape(-1, width * channels)
    if images.device.type == "cpu":
        # numpy asks the system for large pages: for a batch of photographs 3 to 4 times as fast.
        out = torch.from_numpy(np.empty(tuple(stored.shape), dtype=np.float32))
    else:
        out = torch.empty(stored.shape, dtype=torch.float32, device=images.device)
    # On a processor, a cache's worth at a time; an accelerator takes everything in one call.
    step = max(1, _CACHED // (width * channels)) if images.device.type == "cpu" else len(stored)
    for first in range(0, len(stored), max(1, step)):
        rows = slice(first, first + step)
        torch.addcmul(shift, stored[rows].to(torch.float32), factor, out=out[rows])
    return out.reshape(images.shape).movedim(-1, -3)
