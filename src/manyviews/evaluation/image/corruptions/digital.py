"""What computers do to images: contrast, warping, coarse pixels, JPEG."""

import io

import cv2
import numpy as np
from PIL import Image

from manyviews.core.sample import Floats
from manyviews.evaluation.image.corruptions.image import look_up, smooth


def contrast(x: Floats, rng: np.random.Generator, factor: float) -> Floats:
    """The distance to each channel's mean shrinks."""
    del rng
    mean = x.mean(axis=(0, 1), keepdims=True)
    return (x - mean) * factor + mean


def elastic_transform(
    x: Floats, rng: np.random.Generator, strength: float, sigma: float, jitter: float
) -> Floats:
    """Sheared at random, then each pixel moved by a smooth random field (Simard et al. 2003).

    Args:
        x: the image.
        rng: decides shear and field.
        strength: factor on the smoothed field, as a share of the shorter side.
        sigma: how smooth it is, likewise.
        jitter: how far the three points that define the shear move at most, likewise.
    """
    height, width = x.shape[:2]
    side = min(height, width)
    middle, reach = np.array([width // 2, height // 2], np.float32), side // 3
    corner = np.array([reach, -reach], np.float32)
    points = np.stack([middle + reach, middle + corner, middle - reach])
    moved = points + rng.uniform(-jitter * side, jitter * side, size=(3, 2))
    back = np.asarray(
        cv2.getAffineTransform(moved.astype(np.float32), points.astype(np.float32)), np.float64
    )
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    x = look_up(
        x,
        back[1, 0] * columns + back[1, 1] * rows + back[1, 2],
        back[0, 0] * columns + back[0, 1] * rows + back[0, 2],
        "mirror",
    )
    across, down = (
        strength
        * side
        * smooth(rng.uniform(-1, 1, size=(height, width)), sigma * side, truncate=3, edge="reflect")
        for _ in range(2)
    )
    return look_up(x, rows + down, columns + across, "reflect")


def pixelate(x: Floats, rng: np.random.Generator, factor: float) -> Floats:
    """Averaged down to `factor` of the size and enlarged again without smoothing."""
    del rng
    height, width = x.shape[:2]
    small = _picture(x).resize((int(width * factor), int(height * factor)), Image.Resampling.BOX)
    return _levels(small.resize((width, height), Image.Resampling.BOX), x)


def jpeg_compression(x: Floats, rng: np.random.Generator, quality: int) -> Floats:
    """Stored as JPEG."""
    del rng
    file = io.BytesIO()
    _picture(x).save(file, "JPEG", quality=quality)
    with Image.open(file) as stored:
        return _levels(stored, x)


def _picture(x: Floats) -> Image.Image:
    levels = np.rint(x * 255).astype(np.uint8)
    return Image.fromarray(levels[..., 0] if x.shape[2] == 1 else levels)


def _levels(image: Image.Image, like: Floats) -> Floats:
    return np.asarray(image, np.float64).reshape(like.shape) / 255
