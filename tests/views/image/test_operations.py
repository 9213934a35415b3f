"""Each operation against Pillow and torchvision, given the same draws.

Stated tolerances, in levels of 255: 0 for crop, resize and flip (Pillow's, bit for bit) and for
solarising; 1 for any other operation, and 2 for all of them together.
"""

import cv2
import numpy as np
import pytest
from PIL import Image

from manyviews.views.draw import draw, family
from manyviews.views.image.make import make
from manyviews.views.plan import Crops
from slow_views import apply

OFF = {
    "flip": 0.0,
    "jitter": 0.0,
    "brightness": 0.0,
    "contrast": 0.0,
    "saturation": 0.0,
    "hue": 0.0,
    "grey": 0.0,
    "blur": (0.0,),
}
WHOLE = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0)}
OPERATIONS = {
    "flip": {"flip": 1.0},
    "brightness": {"jitter": 1.0, "brightness": 0.8},
    "contrast": {"jitter": 1.0, "contrast": 0.8},
    "saturation": {"jitter": 1.0, "saturation": 0.8},
    "strong saturation": {"jitter": 1.0, "saturation": 2.0},
    "hue": {"jitter": 1.0, "hue": 0.2},
    "hue, full circle": {"jitter": 1.0, "hue": 0.5},
    "grey": {"grey": 1.0},
    "blur": {"blur": (1.0,)},
    "solarize": {"solarize": (1.0,)},
}
EVERYTHING = {
    "jitter": 0.8,
    "brightness": 0.4,
    "contrast": 0.4,
    "saturation": 0.4,
    "hue": 0.1,
    "flip": 0.5,
    "grey": 0.2,
    "blur": (0.5,),
    "solarize": (0.2,),
}


CHANNELS = [1, 2, 3, 4, 5]


def images(count, height, width, channels, *, grain=4):
    """Noise, soft blobs, and extreme colours: what clamps and what does not."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (count, height // grain + 1, width // grain + 1, channels))
    soft = [cv2.resize(plane.astype(np.uint8), (width, height)) for plane in _planes(coarse)]
    out = np.moveaxis(np.reshape(soft, (count, channels, height, width)), 1, -1).copy()
    noisy = random.integers(0, 256, out.shape)
    out[::3] = noisy[::3]
    out[1::6] = (noisy[1::6] > 127) * 255
    return np.ascontiguousarray(out)


def _planes(pictures):
    return np.moveaxis(pictures, -1, 1).reshape(-1, *pictures.shape[1:3])


def both(pixels, crops, *, compare=True):
    """(ours, reference), each [B, V, S, S, C] as int64; ours twice where there is no comparing."""
    count = len(pixels)
    draws = draw(
        crops,
        seed=5,
        epoch=0,
        index=np.arange(count),
        heights=np.full(count, pixels.shape[1]),
        widths=np.full(count, pixels.shape[2]),
        family=family("global"),
    )
    views = [[draws.one(b, v) for v in range(crops.count)] for b in range(count)]

    def by(function):
        made = [[function(pixels[b], view, crops) for view in views[b]] for b in range(count)]
        return np.array(made).astype(np.int64)

    ours = make(pixels, draws, crops).astype(np.int64)
    return ours, by(apply) if compare else ours


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_within_a_level_of_the_reference(name, channels):
    crops = Crops(size=40, **(OFF | WHOLE | OPERATIONS[name]))
    ours, theirs = both(images(12, 40, 40, channels), crops)
    difference = np.abs(ours - theirs)
    assert difference.max() <= (0 if name in ("flip", "solarize") else 1)
    assert difference.mean() < 0.3
    changed = ours != both(images(12, 40, 40, channels), Crops(size=40, **(OFF | WHOLE)))[0]
    colour_only = ("saturation", "strong saturation", "hue", "hue, full circle", "grey")
    assert changed.any() == (channels == 3 or name not in colour_only)


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("height", "width", "size"), [(24, 30, 40), (90, 70, 24), (33, 95, 33), (150, 260, 20)]
)
def test_crop_and_resize_are_pillows_bit_for_bit(height, width, size, interpolation, channels):
    crops = Crops(size=size, count=4, interpolation=interpolation, **(OFF | {"flip": 0.5}))
    ours, theirs = both(images(12, height, width, channels), crops)
    assert np.array_equal(ours, theirs)


def test_resizing_in_one_call_of_pillow_is_within_a_level():
    picture = images(2, 98, 77, 3)[1]
    crops = Crops(size=64, count=1, **(OFF | {"scale": (1.0, 1.0), "ratio": (77 / 98, 77 / 98)}))
    ours, _ = both(picture[None], crops)
    theirs = Image.fromarray(picture).resize((64, 64), Image.Resampling.BILINEAR)
    assert np.abs(ours[0, 0] - np.array(theirs)).max() <= 1


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize(("side", "size"), [(32, 32), (120, 64)])
def test_the_whole_pipeline_agrees_with_the_reference(side, size, channels):
    crops = Crops(size=size, **EVERYTHING)
    ours, theirs = both(images(24, side, side, channels), crops)
    # Solarising jumps: a pixel at the threshold may land on the other side of it.
    difference = np.minimum(np.abs(ours - theirs), np.abs(255 - ours - theirs))
    assert difference.max() <= 2
    assert difference.mean() < 0.3
    assert (np.abs(ours - theirs) > 2).mean() < 1e-3


@pytest.mark.parametrize("channels", [2, 5, 600])
def test_each_channel_is_treated_as_if_it_were_alone(channels):
    """All but contrast, whose grey level is that of the whole image."""
    crops = Crops(size=24, **(EVERYTHING | {"contrast": 0.0}))
    pixels = images(3, 40, 40, channels)
    ours, _ = both(pixels, crops, compare=False)
    alone = [both(pixels[..., c : c + 1], crops, compare=False)[0] for c in range(channels)]
    assert np.array_equal(ours, np.concatenate(alone, axis=-1))


@pytest.mark.parametrize("channels", [2, 5])
def test_contrast_is_around_the_plain_mean_of_other_than_three_channels(channels):
    levels = np.linspace(10, 250, channels).round().astype(np.uint8)
    pixels = np.broadcast_to(levels, (6, 8, 8, channels)).copy()
    crops = Crops(size=8, **(OFF | WHOLE | {"jitter": 1.0, "contrast": 0.5}))
    ours, _ = both(pixels, crops, compare=False)
    apart = ours - levels.mean().round()
    factors = apart[..., -1:] / (levels[-1] - levels.mean())
    assert factors.std() > 0.1
    kept = (ours > 0) & (ours < 255)
    wrong = np.abs(apart - factors * (levels - levels.mean())) > 1.5
    assert not (wrong & kept & kept[..., -1:]).any()


def test_a_constant_image_stays_constant():
    pixels = np.full((3, 37, 53, 3), 0, dtype=np.uint8)
    pixels[0], pixels[1], pixels[2] = 255, 128, (10, 200, 90)
    crops = Crops(size=32, **(OFF | {"blur": (1.0,), "interpolation": "bicubic"}))
    ours, _ = both(pixels, crops)
    assert np.array_equal(ours, np.broadcast_to(pixels[:, None, :1, :1], ours.shape))


def test_a_tiny_view_can_be_blurred_more_widely_than_it_is():
    crops = Crops(size=4, **(OFF | {"blur": (1.0,), "sigma": (2.0, 2.0)}))
    ours, theirs = both(images(6, 8, 8, 3), crops)
    assert np.abs(ours - theirs).max() <= 1
