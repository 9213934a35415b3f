"""Weather: snow, frost, fog, and bright light."""

import numpy as np

from manyviews.core.sample import Floats
from manyviews.evaluation.image.corruptions.image import enlarge, grey, smear, smooth

_FROST = (-18 / 255, 3 / 255, 15 / 255)
"""Red, green and blue of frost less their mean: that of the photographs the authors crop."""


def snow(
    x: Floats,
    rng: np.random.Generator,
    mean: float,
    spread: float,
    zoom: float,
    threshold: float,
    radius: int,
    sigma: float,
    clear: float,
) -> Floats:
    """Flakes fall in two directions, and the scene pales.

    Args:
        x: the image.
        rng: decides flakes and direction.
        mean: of the normal noise that flakes are made from.
        spread: its standard deviation.
        zoom: size of a flake.
        threshold: below it there is no flake.
        radius: of the motion blur, in pixels.
        sigma: likewise.
        clear: share of the scene that does not pale.
    """
    flakes = enlarge(rng.normal(size=x.shape[:2], loc=mean, scale=spread)[..., None], zoom)
    flakes[flakes < threshold] = 0
    flakes = np.floor(flakes.clip(0, 1) * 255) / 255
    flakes = smear(flakes, radius=radius, sigma=sigma, angle=rng.uniform(-135, -45))
    x = clear * x + (1 - clear) * np.maximum(x, grey(x) * 1.5 + 0.5)
    return x + flakes + flakes[::-1, ::-1]


def procedural_frost(x: Floats, rng: np.random.Generator, scene: float, ice: float) -> Floats:
    """Bright, bluish crystals over the scene, made by a formula.

    The authors lay crops of five photographs over the scene. These are not here, so this is not
    their frost and has another name; share of scene and of ice are theirs. What is laid over has
    the photographs' measured colour, brightness (their means are 0.51 to 0.81), spread (about
    0.11) and rough texture (as much variation at each scale, from one pixel to 64), with needles.

    Args:
        x: the image.
        rng: decides the crystals.
        scene: factor on the image.
        ice: factor on the frost.
    """
    layer = np.zeros(x.shape[:2])
    for scale in (0, 1, 2, 4, 8, 16, 32):
        noise = rng.normal(size=x.shape[:2])
        layer += _unit(smooth(noise, scale, truncate=3, edge="reflect"))
        if scale in (2, 4, 8):
            angle = rng.uniform(0, 360)
            needles = smear(noise[..., None], radius=3 * scale, sigma=2 * scale, angle=angle)
            layer += _unit(needles[..., 0].clip(0))
    layer = rng.uniform(0.51, 0.81) + 0.11 * _unit(layer)
    tint = np.zeros(1) if x.shape[2] == 1 else np.array(_FROST)
    return scene * x + ice * (layer[..., None] + tint).clip(0, 1)


def _unit(x: Floats) -> Floats:
    """Mean 0 and spread 1; zeros where nothing varies, as needles of a few pixels may not."""
    spread = x.std()
    return (x - x.mean()) / spread if spread > 0 else np.zeros_like(x)


def fog(x: Floats, rng: np.random.Generator, strength: float, decay: float) -> Floats:
    """Plasma over the scene, which loses contrast as much as it gets brighter."""
    side = 1 << (max(x.shape[:2]) - 1).bit_length()
    most = x.max()
    cloud = plasma(side, rng, decay)[: x.shape[0], : x.shape[1], None]
    return (x + strength * cloud) * most / (most + strength)


def brightness(x: Floats, rng: np.random.Generator, by: float) -> Floats:
    """The value of hue, saturation and value rises.

    That is: all channels by one factor, such that the largest rises by `by`, to 1 at most.
    """
    del rng
    value = x.max(axis=2, keepdims=True)
    raised = (value + by).clip(0, 1)
    return np.where(value > 0, x * raised / np.where(value > 0, value, 1), raised)


def plasma(side: int, rng: np.random.Generator, decay: float) -> Floats:
    """[side, side] in [0, 1]: a cloud by the diamond-square algorithm on a torus.

    The new points of each round are the mean of four neighbours and uniform noise in [-a, a]. a
    falls by decay^2 a round (Fournier, Fussell and Carpenter 1982).

    Args:
        side: a power of two.
        rng: the noise.
        decay: above 1; the larger, the smoother.
    """
    cloud = np.zeros((side, side))
    step, width = side, 100.0
    while step > 1:
        half, noise = step // 2, width**2
        shape = (side // step, side // step)
        corner = cloud[::step, ::step]
        across = corner + np.roll(corner, -1, axis=1)
        middle = (across + np.roll(across, -1, axis=0)) / 4 + rng.uniform(-noise, noise, shape)
        cloud[half::step, half::step] = middle
        beside = middle + np.roll(middle, 1, axis=0) + across
        cloud[::step, half::step] = beside / 4 + rng.uniform(-noise, noise, shape)
        below = middle + np.roll(middle, 1, axis=1) + corner + np.roll(corner, -1, axis=0)
        cloud[half::step, ::step] = below / 4 + rng.uniform(-noise, noise, shape)
        step, width = half, width / decay
    cloud -= cloud.min()
    return cloud / cloud.max()
