"""The augmentations that MAE's ablation compares, as settings of a family of crops."""

import numpy as np
import pytest

from manyviews.core.inputs import Pixels
from manyviews.data.direct import made
from manyviews.views.pipeline import Fed, Item, Pipeline
from manyviews.views.plan import Crops

OFF = {"count": 1, "jitter": 0.0, "grey": 0.0, "blur": (0.0,)}
SETTINGS = {
    "none": OFF | {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": 0.0},
    "fixed": OFF | {"scale": (0.25, 0.25), "ratio": (1.0, 1.0), "flip": 0.0},
    "random": OFF | {"scale": (0.2, 1.0), "flip": 0.0},
    "colour": OFF | {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": 0.0, "jitter": 0.8},
}
SIDE = 32
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE] * 7
IMAGE = np.stack([ROWS, COLUMNS, np.full_like(ROWS, 90)], axis=-1).astype(np.uint8)
"""Red tells the row, green the column: a crop shows where it lies."""


def views(name):
    """The views of 40 epochs, [40, S, S, 3] as numbers."""
    pipeline = Pipeline(
        {"global": Crops(**SETTINGS[name])}, {"image": Fed(Pixels(side=SIDE), (8, 8))}, seed=0
    )
    one = {0: Item(image=IMAGE)}
    found = [made(pipeline, one, epoch=epoch)[0]["global"][0, 0] for epoch in range(40)]
    return np.stack(found).astype(float)


def extent(view):
    """Rows of the image that a crop spans."""
    return (view[-1, :, 0].mean() - view[0, :, 0].mean()) / 7


def test_none_is_the_whole_image_in_every_epoch():
    found = views("none")
    assert (found == found[0]).all()
    np.testing.assert_array_equal(found[0], IMAGE)


def test_fixed_crops_have_one_size_and_lie_anywhere():
    found = views("fixed")
    sizes = np.array([extent(view) for view in found])
    assert np.ptp(sizes) < 1.5
    assert sizes.mean() == pytest.approx(SIDE / 2, abs=1.5)
    assert len({round(view[0, :, 0].mean()) for view in found}) > 5


def test_random_crops_have_many_sizes():
    sizes = np.array([extent(view) for view in views("random")])
    assert np.ptp(sizes) > SIDE / 4


def test_colour_changes_values_and_moves_nothing():
    found = views("colour")
    blue = found[..., 2]
    assert len({view.mean() for view in blue}) > 10
    assert (np.ptp(found[..., 0], axis=1) > 0).all()
    whole = views("none")
    changed = (found != whole).any(axis=(1, 2, 3))
    assert 20 < changed.sum() < 40  # four of five
