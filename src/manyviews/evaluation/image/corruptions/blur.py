"""Blur: out of focus, through frosted glass, by motion, by zooming."""

import numpy as np

from manyviews.core.sample import Floats
from manyviews.evaluation.image.corruptions.image import disk, enlarge, filtered, smear, smooth


def defocus_blur(x: Floats, rng: np.random.Generator, radius: float, sigma: float) -> Floats:
    """Each point becomes a disk, with a soft rim."""
    del rng
    return filtered(x, disk(radius, sigma))


def glass_blur(x: Floats, rng: np.random.Generator, sigma: float, reach: int, times: int) -> Floats:
    """Blurred, its pixels replaced by near ones, and blurred again.

    From the bottom right to the top left each pixel takes the colour that a random pixel near it
    has by then. (The paper says shuffled. The authors' program swaps through views of one array,
    which copies one way; so do their published images.)
    """
    height, width, channels = x.shape
    x = np.floor(smooth(x, sigma, truncate=4, edge="nearest") * 255 + 1e-6) / 255
    rows = np.arange(height - reach, reach, -1)
    columns = np.arange(width - reach, reach, -1)
    source = list(range(height * width))
    for _ in range(times):
        moves = rng.integers(-reach, reach, size=(len(rows), len(columns), 2))
        near = (rows[:, None] + moves[..., 1]) * width + columns + moves[..., 0]
        places = rows[:, None] * width + columns
        for place, other in zip(places.ravel().tolist(), near.ravel().tolist(), strict=True):
            source[place] = source[other]
    x = x.reshape(-1, channels)[source].reshape(x.shape)
    return smooth(x, sigma, truncate=4, edge="nearest")


def motion_blur(x: Floats, rng: np.random.Generator, radius: int, sigma: float) -> Floats:
    """Smeared to the right, up to 45 degrees up or down."""
    return smear(x, radius=radius, sigma=sigma, angle=rng.uniform(-45, 45))


def zoom_blur(x: Floats, rng: np.random.Generator, most: float, step: float) -> Floats:
    """The mean of the image and of itself enlarged by 1, 1 + step, ... below `most`."""
    del rng
    factors = np.arange(1, most, step)
    return (x + sum(enlarge(x, float(factor)) for factor in factors)) / (len(factors) + 1)
