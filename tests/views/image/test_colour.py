"""Colour operations on float planes, beyond what `test_operations` sees on levels."""

import colorsys

import numpy as np
import pytest

from manyviews.views.draw import BRIGHTNESS, CONTRAST, HUE, SATURATION
from manyviews.views.image import colour

NOTHING = -1


def jittered(x, *parts, style="torchvision", **factors):
    names = {"brightness": BRIGHTNESS, "contrast": CONTRAST, "saturation": SATURATION, "hue": HUE}
    values = np.ones(4, dtype=np.float32)
    for name, value in factors.items():
        values[names[name]] = value
    out = x.copy()
    order = np.array([*parts, *[NOTHING] * (4 - len(parts))], dtype=np.int8)
    colour.jitter(out, order, values, colour.STYLES.index(style))
    return out


def test_contrast_uses_the_mean_of_rounded_grey():
    x = (np.random.default_rng(0).random((3, 96 * 96)) * 255).astype(np.float32)
    red, green, blue = (np.float32(weight) for weight in colour.LUMA)
    grey = np.floor(x[0] * red + x[1] * green + x[2] * blue + np.float32(0.5))
    wanted = np.float32(grey.sum()) / np.float32(96 * 96)
    assert np.array_equal(jittered(x, CONTRAST, contrast=0), np.full_like(x, wanted))


def test_hue_is_exact_in_hsv():
    x = np.random.default_rng(0).integers(0, 256, (3, 300)).astype(np.float32)
    for turns in (-0.5, -0.37, -0.1, 0.0, 0.2, 0.4, 0.5):
        wanted = []
        for pixel in x.T / 255:
            h, s, v = colorsys.rgb_to_hsv(*pixel.tolist())
            wanted.append(colorsys.hsv_to_rgb((h + turns) % 1, s, v))
        assert np.abs(jittered(x, HUE, hue=turns).T - np.array(wanted) * 255).max() < 0.01


def test_operations_clamp_between_each_other():
    x = np.array([[200.0], [100.0], [10.0]], dtype=np.float32)
    made = jittered(x, BRIGHTNESS, SATURATION, brightness=2, saturation=0)
    grey = 255 * colour.LUMA[0] + 200 * colour.LUMA[1] + 20 * colour.LUMA[2]
    assert np.abs(made - grey).max() < 1e-3


def test_parts_run_in_the_order_given():
    x = (np.random.default_rng(0).random((3, 5000)) * 255).astype(np.float32)
    factors = {"brightness": 1.5, "contrast": 1.4, "saturation": 1.6, "hue": 0.2}
    for order in ([BRIGHTNESS, CONTRAST, HUE, SATURATION], [HUE, SATURATION, CONTRAST, BRIGHTNESS]):
        stepwise = x
        for part in order:
            stepwise = jittered(stepwise, part, **factors)
        assert np.array_equal(jittered(x, *order, **factors), stepwise)
        other = jittered(x, *order[::-1], **factors)
        assert np.abs(other - stepwise).max() > 5


@pytest.mark.parametrize("style", ["tensorflow", "tensorflow-add"])
@pytest.mark.parametrize("factor", [0.2, 1.0, 1.8])
def test_saturation_of_simclr_and_byol_is_that_of_hsv(style, factor):
    x = np.random.default_rng(0).integers(0, 256, (3, 300)).astype(np.float32)
    x[:, :20] = x[:1, :20]  # grey has none
    wanted = []
    for pixel in x.T / 255:
        h, s, v = colorsys.rgb_to_hsv(*pixel.tolist())
        wanted.append(colorsys.hsv_to_rgb(h, min(1.0, s * factor), v))
    made = jittered(x, SATURATION, style=style, saturation=factor)
    assert np.abs(made.T - np.array(wanted) * 255).max() < 0.01


@pytest.mark.parametrize("style", ["tensorflow", "tensorflow-add"])
def test_contrast_of_simclr_and_byol_is_around_each_channels_mean(style):
    x = (np.random.default_rng(0).random((3, 5000)) * [[100], [200], [250]]).astype(np.float32)
    mean = x.mean(axis=1, keepdims=True)
    for factor in (0.0, 0.5, 1.8):
        wanted = np.clip((x - mean) * factor + mean, 0, 255)
        made = jittered(x, CONTRAST, style=style, contrast=factor)
        assert np.abs(made - wanted).max() < 0.01


def test_brightness_is_added_by_byol_alone():
    x = np.array([[0.0, 100.0, 250.0]] * 3, dtype=np.float32)
    assert np.allclose(
        jittered(x, BRIGHTNESS, style="tensorflow", brightness=1.2)[0], [0, 120, 255]
    )
    assert np.allclose(
        jittered(x, BRIGHTNESS, style="tensorflow-add", brightness=1.2)[0], [51, 151, 255]
    )
    assert np.allclose(
        jittered(x, BRIGHTNESS, style="tensorflow-add", brightness=0.8)[0], [0, 49, 199]
    )
