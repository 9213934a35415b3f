"""Views that differ from the plain one in one thing only: what invariance is measured with."""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from manyviews.views.plan import Crops

Bytes = NDArray[np.uint8]

_MOST = 4
"""Channels that every function of OpenCV takes."""


def single(size: int, channels: int) -> dict[str, Crops]:
    """A plan for each augmentation of SimCLR (Chen et al. 2020, appendix A) with all others off.

    At its standard strength and, so that each image is changed, with probability 1: "crop" (8 to
    100 % of the area), "flip", "colour" (brightness, contrast, saturation 0.8, hue 0.2), "blur"
    (standard deviation 0.1 to 2 pixels of 224, in proportion to the size, but up to 1 at least)
    and, with 3 channels, "grey". One view each.

    Give `views.engine.Engine` the plain views themselves (`Plain.uint8`, square images of side
    `size`), not the files' images: the crop is then the whole image and nothing is resized.

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
