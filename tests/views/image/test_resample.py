"""Weights of resizing: Pillow's filters, and nothing from outside the crop."""

import numpy as np
import pytest
from PIL import Image

from manyviews.views.image.resample import blend, most_taps, taps

HOW = {False: Image.Resampling.BILINEAR, True: Image.Resampling.BICUBIC}


def keys(t):
    """Keys' cubic with a = -0.5."""
    t = abs(t)
    if t < 1:
        return 1.5 * t**3 - 2.5 * t**2 + 1
    return -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 if t < 2 else 0.0


@pytest.mark.parametrize(("length", "size"), [(1, 5), (7, 32), (32, 7), (100, 3), (300, 224)])
def test_the_sharp_cubic_reads_four_pixels_however_much_it_shrinks(length, size):
    """As TensorFlow's resize with half-pixel centres and no antialiasing."""
    most, first, weights = filled(length, size, cubic=True, sharp=True)
    assert most <= 4
    for o in range(size):
        centre = (o + 0.5) * length / size - 0.5
        wanted = np.array([keys(i - centre) for i in range(length)])
        found = np.zeros(length + weights.shape[1])
        found[first[o] : first[o] + weights.shape[1]] = weights[o] / 2**22
        assert np.abs(found[:length] - wanted / wanted.sum()).max() < 1e-6


def filled(length, size, *, cubic, sharp=False):
    first = np.full(size, -1, dtype=np.int64)
    weights = np.full((size, most_taps(length, size, cubic=cubic)), 7, dtype=np.int32)
    return taps(length, size, cubic, first, weights, sharp), first, weights


@pytest.mark.parametrize("cubic", [False, True])
@pytest.mark.parametrize(("length", "size"), [(1, 5), (2, 2), (7, 32), (32, 7), (100, 3), (64, 64)])
def test_weights_sum_to_one_and_stay_inside(length, size, cubic):
    most, first, weights = filled(length, size, cubic=cubic)
    assert np.abs(weights.sum(axis=1) / 2**22 - 1).max() < 1e-5
    reach = (weights != 0).cumsum(axis=1).argmax(axis=1)
    assert (first >= 0).all()
    assert (first + reach < length).all()
    assert not weights[:, most:].any()
    assert most <= weights.shape[1]
    assert weights.shape[1] % 2 == 0


@pytest.mark.parametrize("cubic", [False, True])
@pytest.mark.parametrize("size", [3, 20, 50])
@pytest.mark.parametrize("length", [1, 2, 19, 20, 21, 59, 90, 131, 300])
def test_one_direction_is_pillows_bit_for_bit(length, size, cubic):
    random = np.random.default_rng(length)
    rows = random.integers(0, 256, (length, 2, 40), dtype=np.uint8)
    rows[: length // 2] = (rows[: length // 2] > 127) * 255
    most, first, weights = filled(length, size, cubic=cubic)
    out = np.empty((size, 2, 40), dtype=np.uint8)
    for flip in (False, True):
        blend(rows, first, weights, most, out, np.empty((2, 40), dtype=np.int32), flip)
        for part in range(2):
            wanted = Image.fromarray(rows[:, part]).resize((40, size), HOW[cubic])
            assert np.array_equal(out[:, part], np.array(wanted)[:: -1 if flip else 1])
