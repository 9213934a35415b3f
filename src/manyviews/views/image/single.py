"""Views that differ from the plain one in one thing only: what invariance is measured with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from manyviews.core.inputs import Input, Pixels
from manyviews.core.sample import Bytes, Family, Layout, Window
from manyviews.views.image.crops import fed_pixels
from manyviews.views.image.whole import OfWhole
from manyviews.views.plan import Crops

_MOST = 4
"""Channels that every function of OpenCV takes."""

ROTATION = 15.0
"""Degrees, of the one turn that is tried."""


def altered(input: Pixels) -> dict[str, Family]:
    """Augmentation -> the family that makes it, and nothing else, of plain views.

    Those of `single`, and a rotation. Their images are the plain views, not the files'.
    """
    made: dict[str, Family] = {**single(input.side, input.channels)}
    return made | {f"rotation by {ROTATION:.0f}°": Rotated(degrees=ROTATION)}


def single(size: int, channels: int) -> dict[str, Crops]:
    """A plan for each augmentation of SimCLR (Chen et al. 2020, appendix A) with all others off.

    At its standard strength and, so that each image is changed, with probability 1: "crop" (8 to
    100 % of the area), "flip", "colour" (brightness, contrast, saturation 0.8, hue 0.2), "blur"
    (standard deviation 0.1 to 2 pixels of 224, in proportion to the size, but up to 1 at least)
    and, with 3 channels, "grey". One view each.

    They are made of the plain views themselves (square images of side `size`), not of the files'
    images: the crop is then the whole image and nothing is resized.

    Args:
        size: side of plain and changed views, in pixels.
        channels: of every image; saturation and hue are off with other than 3.
    """
    rgb = channels == 3
    off = unchanged(size)
    made = {
        "crop": replace(off, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3)),
        "flip": replace(off, flip=1.0),
        "colour": replace(
            off,
            jitter=1.0,
            brightness=0.8,
            contrast=0.8,
            saturation=0.8 if rgb else 0.0,
            hue=0.2 if rgb else 0.0,
        ),
        "blur": replace(off, blur=(1.0,), sigma=(0.1, max(1.0, 2.0 * size / 224))),
    }
    if rgb:
        made["grey"] = replace(off, grey=1.0)
    return made


def unchanged(size: int) -> Crops:
    """One view of side `size` that is the image itself, where that is a square of that side."""
    return Crops(
        count=1,
        size=size,
        scale=(1.0, 1.0),
        ratio=(1.0, 1.0),
        flip=0.0,
        jitter=0.0,
        grey=0.0,
        blur=(0.0,),
        solarize=(0.0,),
    )


@dataclass(frozen=True, kw_only=True)
class Rotated:
    """A family of one view: a square image turned about its centre by `degrees`; see `rotate`.

    Attributes:
        to: the encoder that it is made for.
        of: the stream.
        count: 1.
        around: nothing.
        degrees: counter-clockwise.
    """

    to: str = "image"
    of: str = "image"
    count: int = 1
    around: str = ""
    degrees: float = ROTATION

    def maker(self, name: str, input: Input, grid: tuple[int, ...], *, seed: int) -> "RotateMaker":
        """What makes it. Raises UsageError where the encoder is not fed images."""
        return RotateMaker(self, fed_pixels(name, self.to, input))


class RotateMaker(OfWhole):
    """Makes rotated views: [1, S, S, C] uint8, of images [S, S, C]."""

    cues: Mapping[str, Layout] = {}

    def __init__(self, rotated: Rotated, input: Pixels) -> None:
        """Keep the angle."""
        self._degrees = rotated.degrees
        self.layout = Layout(1, (input.side, input.side, input.channels), np.dtype(np.uint8))

    def __call__(
        self,
        decoded: Sequence[Bytes],
        windows: Sequence[Window],
        index: int,
        epoch: int,
        out: Bytes,
        around: Sequence[Window] = (),
    ) -> Mapping[str, NDArray[Any]]:
        """Fill out [1, S, S, C] with one image [S, S, C], turned."""
        out[:] = rotate(decoded[0][None], degrees=self._degrees)
        return {}


def rotate(images: Bytes, *, degrees: float) -> Bytes:
    """[B, S, S, C] uint8: square images turned about their centres, counter-clockwise.

    Quarter turns are exact; other angles are bilinear, with the image mirrored at its borders.

    Args:
        images: [B, S, S, C] uint8.
        degrees: any.
    """
    turns, rest = divmod(degrees, 90)
    if rest == 0:
        return np.ascontiguousarray(np.rot90(images, int(turns) % 4, axes=(1, 2)))
    side, channels = images.shape[1], images.shape[3]
    centre = (side - 1) / 2
    matrix = cv2.getRotationMatrix2D((centre, centre), degrees, 1.0)
    out = np.empty_like(images)
    for image, turned in zip(images, out, strict=True):
        for first in range(0, channels, _MOST):
            part = np.ascontiguousarray(image[..., first : first + _MOST])
            made = cv2.warpAffine(part, matrix, (side, side), borderMode=cv2.BORDER_REFLECT_101)
            turned[..., first : first + _MOST] = np.reshape(made, part.shape)
    return out
