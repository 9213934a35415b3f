"""The blur is a Gaussian, mirrored at the borders, and its sums are exact."""

import numpy as np
import pytest
from scipy import ndimage

from manyviews.views.image.blur import blur, gaussian, radius

SIGMAS = [0.1, 0.3, 0.34, 0.7, 1.0, 1.4, 1.7, 2.0, 2.4, 3.1]


def weights_of(sigma, reach):
    weights = np.full(reach + 9, 5.0, dtype=np.float32)
    gaussian(sigma, reach, weights)
    return weights


def blurred(picture, sigma):
    size = len(picture)
    reach = min(radius(sigma), size - 1)
    wide, tall = np.full((2, size * (size + 2 * reach) + 1), np.nan, dtype=np.float32)
    out = picture.astype(np.float32).ravel()
    blur(out, size, weights_of(sigma, reach), reach, wide, tall)
    return out.reshape(size, size)


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("size", [16, 33])
def test_blur_is_a_gaussian_mirrored_at_the_borders(sigma, size):
    picture = np.random.default_rng(0).integers(0, 2, (size, size)) * 255.0
    # Cut at 3 sigma, the tails that are left out hold less than 0.3 % in each direction.
    wanted = ndimage.gaussian_filter(picture, sigma, mode="mirror", truncate=8)
    assert np.abs(blurred(picture, sigma) - wanted).max() < 0.006 * 255
    cut = ndimage.gaussian_filter(picture, sigma, mode="mirror", radius=radius(sigma))
    assert np.abs(blurred(picture, sigma) - cut).max() < 0.25


@pytest.mark.parametrize("sigma", SIGMAS)
def test_weights_are_whole_sum_to_one_and_end_at_three_sigma(sigma):
    weights = weights_of(sigma, radius(sigma)).astype(np.float64)
    assert np.array_equal(weights * 2**14, np.rint(weights * 2**14))
    assert weights[0] + 2 * weights[1:].sum() == 1
    assert not weights[radius(sigma) + 1 :].any()
    assert radius(sigma) == np.ceil(3 * sigma)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_every_sum_is_exact(sigma):
    """So a processor that rounds a product and a sum once makes the same bits."""
    picture = np.random.default_rng(0).random((16, 16)) * 255
    reach = min(radius(sigma), 15)
    weights = weights_of(sigma, reach).astype(np.float64)
    kernel = np.concatenate((weights[reach:0:-1], weights[: reach + 1]))
    rows = np.floor(picture.astype(np.float32) * np.float32(4) + 0.5) / 4
    across = ndimage.correlate1d(rows, kernel, axis=1, mode="mirror")
    between = np.floor(across * 4 + 0.5) / 4
    wanted = ndimage.correlate1d(between, kernel, axis=0, mode="mirror")
    assert np.array_equal(blurred(picture, sigma), wanted)
