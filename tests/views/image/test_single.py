"""Views with one augmentation: each changes what it should and nothing else."""

import cv2
import numpy as np
import pytest

from manyviews.core.inputs import Pixels
from manyviews.data.direct import made as make
from manyviews.views import draw
from manyviews.views.image.engine import Engine
from manyviews.views.image.plain import Plain
from manyviews.views.image.single import altered, rotate, single, unchanged
from manyviews.views.pipeline import Fed, Item, Pipeline

LUMA = np.array([0.299, 0.587, 0.114])


def pictures(count, size, channels, seed=0):
    """[count, size, size, channels] uint8: smooth, asymmetric and in colour."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (count, 5, 5, channels), dtype=np.uint8)
    plain = Plain(Pixels(side=size, channels=channels, mean=(0.5,), std=(0.5,)))
    smooth = [
        np.reshape(
            np.stack([cv2.resize(plane, (size, size)) for plane in np.moveaxis(x, -1, 0)], axis=-1),
            (size, size, channels),
        )
        for x in coarse
    ]
    return plain.uint8(smooth) if size < 96 else np.stack(smooth)


def made(crops, images, epoch=0):
    engine = Engine({"global": crops}, channels=images.shape[-1], seed=0)
    return engine(images, np.arange(len(images)), epoch)["global"][:, 0]


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("size", [28, 112])
def test_with_all_off_the_view_is_the_plain_image(size, channels):
    images = pictures(6, size, channels)
    assert np.array_equal(made(unchanged(size), images), images)


@pytest.mark.parametrize("size", [28, 112])
@pytest.mark.parametrize(
    ("channels", "names"),
    [
        (1, {"crop", "flip", "colour", "blur"}),
        (3, {"crop", "flip", "colour", "blur", "grey"}),
        (5, {"crop", "flip", "colour", "blur"}),
    ],
)
def test_each_plan_changes_every_image(size, channels, names):
    images = pictures(12, size, channels)
    plans = single(size, channels)
    assert set(plans) == names
    for name, crops in plans.items():
        assert (crops.count, crops.cues) == (1, {})
        changed = np.abs(made(crops, images).astype(int) - images).max(axis=(1, 2, 3))
        # a blur of 0.1 pixels and a crop of all but a row may well be invisible
        assert (changed > 0).mean() >= (0.7 if name in ("blur", "crop") else 1.0), name


def test_each_plan_draws_one_operation_and_no_other():
    index = np.arange(200)
    sides = np.full(200, 64)
    for name, crops in single(64, 3).items():
        drawn = draw.draw(
            crops,
            seed=0,
            epoch=0,
            index=index,
            heights=sides,
            widths=sides,
            family=draw.family("global"),
        )
        whole = (drawn.height == 64) & (drawn.width == 64)
        ran = {
            "crop": ~whole.all(),
            "flip": drawn.flip.any(),
            "colour": drawn.jitter.any(),
            "grey": drawn.grey.any(),
            "blur": drawn.blur.any(),
            "solarize": drawn.solarize.any(),
        }
        assert {other for other, on in ran.items() if on} == {name}
        if name != "crop":
            assert ran[name] == getattr(drawn, {"colour": "jitter"}.get(name, name)).all()


def test_flip_and_grey_are_exact():
    images = pictures(4, 40, 3)
    plans = single(40, 3)
    assert np.array_equal(made(plans["flip"], images), images[:, :, ::-1])
    grey = made(plans["grey"], images).astype(float)
    assert np.array_equal(grey[..., 0], grey[..., 1])
    assert np.abs(grey[..., 0] - images @ LUMA).max() <= 1


def test_colour_keeps_places_and_blur_keeps_colours():
    images = pictures(8, 40, 3)
    plans = single(40, 3)
    # one colour all over, whatever it becomes, stays one colour
    flat = np.broadcast_to(images[:, :1, :1], images.shape).copy()
    for name in ("colour", "blur"):
        out = made(plans[name], flat)
        assert (out == out[:, :1, :1]).all(), name
    assert not np.array_equal(made(plans["colour"], flat), flat)
    assert np.array_equal(made(plans["blur"], flat), flat)
    blurred = made(plans["blur"], images).astype(float)
    assert np.abs(blurred.mean(axis=(1, 2)) - images.mean(axis=(1, 2))).max() < 2
    rough = [np.abs(np.diff(x.astype(float), n=2, axis=1)).mean() for x in (blurred, images)]
    assert rough[0] < rough[1]


def test_crop_keeps_levels_within_the_image():
    images = pictures(8, 40, 3)
    out = made(single(40, 3)["crop"], images)
    assert (out.min(axis=(1, 2)) >= images.min(axis=(1, 2))).all()
    assert (out.max(axis=(1, 2)) <= images.max(axis=(1, 2))).all()


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270, -90, 360])
def test_quarter_turns_are_exact(degrees, channels):
    images = pictures(2, 12, channels)
    expected = np.rot90(images, degrees // 90 % 4, axes=(1, 2))
    found = rotate(images, degrees=degrees)
    assert np.array_equal(found, expected)
    assert found.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize("channels", [1, 3, 6])
def test_other_angles_turn_the_same_way(channels):
    images = pictures(3, 41, channels)
    near = rotate(images, degrees=89.9).astype(int)
    assert np.abs(near - rotate(images, degrees=90))[:, 3:-3, 3:-3].max() <= 6
    small = rotate(images, degrees=15)
    assert small.shape == images.shape
    assert small.dtype == np.uint8
    back = rotate(small, degrees=-15).astype(int)
    inside = np.abs(back - images)[:, 12:-12, 12:-12]
    assert inside.max() <= 12
    assert np.abs(small.astype(int) - images).mean() > 3


@pytest.mark.parametrize("channels", [1, 3])
def test_alterations_are_families_of_plain_views(channels):
    fed = Pixels(side=28, channels=channels, mean=(0.5,), std=(0.5,))
    images = pictures(3, 28, channels)
    items = {i: Item(image=image) for i, image in enumerate(images)}
    plans = single(28, channels)
    assert set(altered(fed)) == {*plans, "rotation by 15°"}
    for name, plan in altered(fed).items():
        views, _ = make(Pipeline({"global": plan}, {"image": Fed(fed)}), items)
        wanted = made(plans[name], images) if name in plans else rotate(images, degrees=15)
        assert np.array_equal(views["global"][:, 0], wanted), name
