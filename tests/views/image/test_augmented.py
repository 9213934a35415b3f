"""RandAugment's operations against the code that InfoMin was trained with, and how they are drawn.

What fails if a bug is planted: an operation with another strength or the other way round,
`test_an_operation_is_that_of_the_authors`; the same operations for every view or epoch,
`test_views_epochs_and_samples_draw_their_own`; operations done whatever `applied` says,
`test_without_operations_the_crops_are_left`; some operations or one sign alone, a magnitude or fill
of its own, `test_operations_strengths_and_signs_are_drawn_as_the_authors_do`.
"""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from manyviews.core.inputs import Pixels
from manyviews.views.image import augmented as module
from manyviews.views.image.augmented import OPERATIONS, Augmented, operated
from manyviews.views.plan import Crops

DATA = Path(__file__).parents[2] / "reference" / "data" / "randaugment.npz"
THEIRS = {
    "autocontrast": "AutoContrast",
    "equalize": "Equalize",
    "invert": "Invert",
    "rotate": "Rotate",
    "posterize": "PosterizeTpu",
    "solarize": "Solarize",
    "lighten": "SolarizeAdd",
    "colour": "Color",
    "contrast": "Contrast",
    "brightness": "Brightness",
    "sharpness": "Sharpness",
    "shear_x": "ShearX",
    "shear_y": "ShearY",
    "move_x": "TranslateXRel",
    "move_y": "TranslateYRel",
}
FILL = (124, 116, 104)


def test_all_operations_of_the_authors_are_there():
    assert list(THEIRS) == list(OPERATIONS)


@pytest.mark.parametrize("name", THEIRS)
def test_an_operation_is_that_of_the_authors(name):
    with np.load(DATA) as data:
        found = []
        for smooth in ("bilinear", "bicubic"):
            cubic = smooth == "bicubic"
            made = operated(data["image"], name, level=0.63, negative=True, fill=FILL, cubic=cubic)
            assert np.array_equal(made, data[f"{THEIRS[name]}.6.3.{smooth}"])
            found.append(made)
        assert not all(np.array_equal(made, data["image"]) for made in found)


@pytest.mark.parametrize("name", THEIRS)
@pytest.mark.parametrize("channels", [1, 5])
def test_other_than_red_green_and_blue_are_operated_on_one_by_one(name, channels):
    image = np.random.default_rng(0).integers(0, 256, (8, 8, channels), dtype=np.uint8)
    strength = {"level": 0.5, "negative": False, "cubic": True}
    made = operated(image, name, fill=[9] * channels, **strength)
    assert made.shape == image.shape
    alone = operated(image[..., -1:], name, fill=[9], **strength)
    assert np.array_equal(made[..., -1:], alone)


def views(plan, *, index=0, epoch=0, seed=0):
    make = plan.maker("some", Pixels(side=16), (4, 4), seed=seed)
    out = np.zeros((make.layout.count, *make.layout.shape), make.layout.dtype)
    image = np.random.default_rng(1).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    make([image], make.windows(index, epoch, 0.0), index, epoch, out)
    return out


def test_without_operations_the_crops_are_left():
    crops = views(Crops(count=4))
    assert np.array_equal(views(Augmented(count=4, applied=0.0)), crops)
    assert np.array_equal(views(Augmented(count=4, operations=0)), crops)
    changed = [
        not np.array_equal(a, b)
        for i in range(30)
        for a, b in zip(
            views(Augmented(count=4), index=i), views(Crops(count=4), index=i), strict=True
        )
    ]
    # Both are done with 1/4, and 1/15 of those that are done change hardly anything.
    assert 0.55 < np.mean(changed) < 0.85


def test_views_epochs_and_samples_draw_their_own():
    plain = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": 0.0, "jitter": 0.0, "grey": 0.0}
    plan = Augmented(count=8, blur=(0.0,), applied=1.0, **plain)
    seen = {
        view.tobytes()
        for index in (0, 1)
        for epoch in (0, 1)
        for view in views(plan, index=index, epoch=epoch)
    }
    assert len(seen) > 28  # of 32
    assert np.array_equal(views(plan, index=1), views(plan, index=1))
    few = Augmented(count=2, blur=(0.0,), applied=1.0, **plain)
    assert np.array_equal(views(few), views(plan)[:2])


def drawn(monkeypatch, **settings):
    """What 3,000 operations are asked for, where half of them are done."""
    asked = []

    def operated(view, name, **how):
        asked.append({"name": name, **how})
        return view

    monkeypatch.setattr(module, "operated", operated)
    plan = Augmented(count=3, operations=4, **settings)
    make = plan.maker("some", Pixels(side=4, mean=(0.1, 0.2, 0.9)), (1, 1), seed=0)
    out = np.zeros((3, 4, 4, 3), np.uint8)
    image = np.zeros((4, 4, 3), np.uint8)
    for index in range(250):
        make([image], make.windows(index, 0, 0.0), index, 0, out)
    return asked


def test_operations_strengths_and_signs_are_drawn_as_the_authors_do(monkeypatch):
    """PyContrast's rand-m10-n2-mstd0.5: each of fifteen, with probability 1/2, either way round."""
    asked = drawn(monkeypatch)
    assert len(asked) == pytest.approx(1500, abs=110)
    counts = Counter(one["name"] for one in asked)
    assert set(counts) == set(OPERATIONS)
    assert min(counts.values()) > 60  # of 100
    for way in ("negative", "cubic"):
        assert np.mean([one[way] for one in asked]) == pytest.approx(0.5, abs=0.06)
    both = np.corrcoef([one["negative"] for one in asked], [one["cubic"] for one in asked])[0, 1]
    assert abs(both) < 0.1
    assert all(one["fill"] == [26, 51, 230] for one in asked)
    levels = np.array([one["level"] for one in asked])
    assert (levels == 1.0).mean() == pytest.approx(0.5, abs=0.06)  # the half above the most
    assert 1 - levels.mean() == pytest.approx(0.05 / np.sqrt(2 * np.pi), rel=0.15)


def test_magnitude_and_its_spread_are_those_of_the_settings(monkeypatch):
    asked = drawn(monkeypatch, magnitude=4.0, spread=1.0, applied=1.0)
    levels = np.array([one["level"] for one in asked])
    assert len(asked) == 3000
    assert levels.mean() == pytest.approx(0.4, abs=0.008)
    assert levels.std() == pytest.approx(0.1, rel=0.06)
