"""Noise: Gaussian, shot and impulse. Each channel of a colour image has its own."""

import numpy as np

from manyviews.core.sample import Floats


def gaussian_noise(x: Floats, rng: np.random.Generator, sigma: float) -> Floats:
    """Normal noise of a fixed standard deviation."""
    return x + rng.normal(size=x.shape, scale=sigma)


def shot_noise(x: Floats, rng: np.random.Generator, photons: float) -> Floats:
    """As many photons as a Poisson variable says; `photons` are expected of white."""
    return rng.poisson(x * photons) / photons


def impulse_noise(x: Floats, rng: np.random.Generator, share: float) -> Floats:
    """Salt and pepper: a share of the values becomes black or white, equally often."""
    hit = rng.random(x.shape) <= share
    return np.where(hit, (rng.random(x.shape) <= 0.5).astype(np.float64), x)
