"""The deterministic transform of evaluation and embedding."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from manyviews.core.inputs import Input, Pixels
from manyviews.core.sample import Bytes, Layout, Window
from manyviews.views.image.crops import fed_pixels
from manyviews.views.image.whole import OfWhole

_PHOTOGRAPH = 96
"""From this side on, images are resized a little larger and cropped, as ImageNet protocols do."""

_LONGEST = 16
"""Times the shorter side: what is beyond is cut off before an image is resized."""


class Plain:
    """One fixed view of each image, antialiased.

    Sides of 96 and more: the shorter side becomes side * 256 / 224, then the central square is
    cut out. Smaller: the whole image becomes the square (thumbnails have no border to spare).

    Attributes:
        input: what the encoder is fed: side S, channels C, mean and deviation.
        whole: the whole image becomes the square at any side, for what lies at its border too.
    """

    def __init__(self, input: Pixels, *, whole: bool = False) -> None:
        """Keep the numbers; nothing is read or drawn."""
        self.input = input
        self.whole = whole

    @property
    def size(self) -> int:
        """Side S of the result, in pixels."""
        return self.input.side

    @property
    def channels(self) -> int:
        """Of every image."""
        return self.input.channels

    def uint8(self, images: Sequence[Bytes] | Bytes) -> Bytes:
        """[B, S, S, C] uint8 of images [H, W, C] uint8."""
        out = np.empty((len(images), self.size, self.size, self.channels), dtype=np.uint8)
        for row, image in zip(out, images, strict=True):
            row[...] = self.one(image)
        return out

    def __call__(self, images: Sequence[Bytes] | Bytes) -> Tensor:
        """[B, C, S, S] float32, normalised, of images [H, W, C] uint8."""
        return self.input.finish(torch.from_numpy(self.uint8(images)))

    def one(self, image: Bytes) -> Bytes:
        """[S, S, C] uint8 of one image [H, W, C] uint8; where nothing changes, the image itself."""
        return self._cut(image, _smooth)

    def along(self, image: Bytes, count: int) -> list[Bytes]:
        """`count` squares [S, S, C] of one image, from one end of its longer side to the other.

        The shorter side becomes S, so that 2 and more show both ends (VideoMAE's test crops,
        MCG-NJU/VideoMAE kinetics.py). One is the middle.
        """
        size, image = self.size, _middle(image)
        height, width = image.shape[:2]
        if height <= width:
            height, width = size, int(size * width / height)
        else:
            height, width = int(size * height / width), size
        image = _smooth(image, height=height, width=width)
        places = [spread_squares(side - size, count) for side in (height, width)]
        return [
            image[top : top + size, left : left + size] for top, left in zip(*places, strict=True)
        ]

    def numbers(self, mask: NDArray[np.int32]) -> NDArray[np.int32]:
        """[S, S] of a mask [H, W], of the same places: each number is that of the nearest pixel."""
        return self._cut(mask, nearest_pixels)

    def _cut(self, image: NDArray[Any], resized: Callable[..., NDArray[Any]]) -> NDArray[Any]:
        size = self.size
        if size < _PHOTOGRAPH or self.whole:
            return resized(image, height=size, width=size)
        short = size * 256 // 224
        image = _middle(image)
        height, width = image.shape[:2]
        # Truncated as torchvision's Resize does.
        if height <= width:
            height, width = short, int(short * width / height)
        else:
            height, width = int(short * height / width), short
        image = resized(image, height=height, width=width)
        top, left = round((height - size) / 2), round((width - size) / 2)
        return image[top : top + size, left : left + size]


def spread_squares(room: int, count: int) -> list[int]:
    """Where `count` squares begin that have so many pixels to move in; one in the middle."""
    return [room * k // (count - 1) for k in range(count)] if count > 1 else [room // 2]


def nearest_pixels(image: NDArray[np.int32], *, height: int, width: int) -> NDArray[np.int32]:
    """[height, width] of an array [H, W]: what lies below the middle of each new pixel."""
    down = (np.arange(height) + 0.5) * image.shape[0] / height
    across = (np.arange(width) + 0.5) * image.shape[1] / width
    return image[down.astype(np.intp)[:, None], across.astype(np.intp)]


def _smooth(image: Bytes, *, height: int, width: int) -> Bytes:
    return resize(image, height=height, width=width, interpolation="bilinear")


def _middle(image: NDArray[Any]) -> NDArray[Any]:
    """The image, or of one that is long and thin the middle, of which the square will be cut.

    A line of 1 x 16000 pixels would be made 256 x 4,096,000 first. What is left has the same
    middle to half a pixel, and is still so long that its ends are far from the square.
    """
    height, width = image.shape[:2]
    longest = _LONGEST * min(height, width)
    top, left = max(0, (height - longest) // 2), max(0, (width - longest) // 2)
    return image[top : height - top, left : width - left]


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


@dataclass(frozen=True, kw_only=True)
class PlainImages:
    """The one view of evaluation, as a family; see `Plain`.

    Attributes:
        to: the encoder that it is made for.
        of: the stream.
        count: 1.
        whole: nothing is cut off; see `Plain`.
    """

    to: str = "image"
    of: str = "image"
    count: int = 1
    whole: bool = False

    @property
    def around(self) -> str:
        """Nothing."""
        return ""

    def maker(
        self, name: str, input: Input, grid: tuple[int, ...], *, seed: int
    ) -> "PlainImageMaker":
        """What makes it. Raises UsageError where the encoder is not fed images."""
        plain = Plain(fed_pixels(name, self.to, input), whole=self.whole)
        return PlainImageMaker(plain, count=self.count)


class PlainImageMaker(OfWhole):
    """Makes plain views: [1, S, S, C] uint8."""

    cues: Mapping[str, Layout] = {}

    def __init__(self, plain: Plain, *, count: int) -> None:
        """Keep the transform."""
        self.plain = plain
        shape = (plain.size, plain.size, plain.channels)
        self.layout = Layout(count, shape, np.dtype(np.uint8))

    def __call__(
        self,
        decoded: Sequence[Bytes],
        windows: Sequence[Window],
        index: int,
        epoch: int,
        out: Bytes,
        around: Sequence[Window] = (),
    ) -> Mapping[str, NDArray[Any]]:
        """Fill out [1, S, S, C] with the plain view of one image [H, W, C]."""
        out[:] = self.plain.one(decoded[0])
        return {}
