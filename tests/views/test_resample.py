"""Resampling matrices: exact in any order of addition, and true to their filters."""

import numpy as np
import pytest
from scipy import ndimage

from manyviews.views import colour
from manyviews.views.resample import BlurTable, ResizeTable, blur_radius, resize_weights

STARTS, ENDS = np.triu_indices(32)


def weights(interpolation, size=24):
    lengths = ENDS - STARTS + 1
    return resize_weights(STARTS, lengths, extent=32, size=size, interpolation=interpolation)


@pytest.mark.parametrize(("interpolation", "bits"), [("bilinear", 16), ("bicubic", 15)])
def test_products_of_weights_and_levels_are_exact_in_float32(interpolation, bits):
    made = weights(interpolation).astype(np.float64) * 2.0**bits
    assert np.array_equal(made, np.rint(made))
    assert (np.abs(made).sum(axis=-1) * 255).max() <= 2**24
    assert np.abs(made.sum(axis=-1) / 2**bits - 1).max() < 1e-3


def test_a_crop_takes_nothing_from_outside():
    made = weights("bicubic")
    inside = (np.arange(32) >= STARTS[:, None]) & (np.arange(32) <= ENDS[:, None])
    assert (made.any(axis=1) <= inside).all()


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_table_gives_the_same_bits_as_computing(interpolation):
    table = ResizeTable(24, interpolation)
    lengths = ENDS - STARTS + 1
    for _ in range(2):
        assert np.array_equal(table(STARTS, lengths, extent=32), weights(interpolation))
    for extent in (40, 33, 34, 35, 36, 300):
        one = table(np.array([3]), np.array([20]), extent=extent)
        wanted = resize_weights(
            np.array([3]), np.array([20]), extent=extent, size=24, interpolation=interpolation
        )
        assert np.array_equal(one, wanted)


def test_blur_is_a_gaussian_mirrored_at_the_borders():
    sigma = np.array([0.1, 0.3, 0.7, 1.0, 1.5, 2.0])
    made = BlurTable(20, 2.0)(sigma)
    rows = np.random.default_rng(0).integers(0, 256, 20).astype(np.float64)
    for one, weight in zip(sigma, made, strict=True):
        # Cut at 3 sigma, the tails that are left out hold less than 0.3 %.
        wanted = ndimage.gaussian_filter1d(rows, one, mode="mirror", truncate=8)
        assert np.abs(weight @ rows - wanted).max() < 0.003 * 255


def test_blur_is_cut_at_three_sigma_and_its_products_are_exact():
    sigma = np.array([0.1, 0.34, 1.0, 2.0])
    assert blur_radius(sigma).tolist() == [1, 2, 3, 6]
    made = BlurTable(20, 2.0)(sigma)
    assert np.array_equal(made.sum(axis=-1), np.ones((4, 20), dtype=np.float32))
    for radius, weight in zip(blur_radius(sigma), made, strict=True):
        assert not np.triu(weight[8:12], k=8 + 1 + radius).any()
    units = made.astype(np.float64) * 2.0**14
    assert np.array_equal(units, np.rint(units))


def test_contrast_uses_a_mean_that_no_order_of_addition_changes():
    random = np.random.default_rng(0)
    x = (random.random((3, 5, 96 * 96)) * 255).astype(np.float32)
    grey = np.rint(colour.grey(x)).astype(np.int64)
    wanted = grey.sum(axis=-1).astype(np.float32) / np.float32(96 * 96)
    colour.contrast(x, np.zeros(5))
    assert np.array_equal(x, np.broadcast_to(wanted[:, None], x.shape))
