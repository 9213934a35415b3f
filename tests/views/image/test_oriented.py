"""Crops in any orientation."""

import numpy as np
import pytest

from manyviews.core.errors import UsageError
from manyviews.core.inputs import Pixels
from manyviews.core.sample import WHOLE
from manyviews.core.settings import check
from manyviews.views.image.oriented import Oriented
from manyviews.views.plan import Crops

PLAIN = {
    "scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": 0.0, "jitter": 0.0, "grey": 0.0,
    "blur": (0.0,),
}  # fmt: skip
FED = Pixels(side=8)
IMAGE = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def views(plan, index=0, epoch=0):
    out = np.empty((plan.count, 8, 8, 3), np.uint8)
    plan.maker("global", FED, (2, 2), seed=0)([IMAGE], [WHOLE] * plan.count, index, epoch, out)
    return out


def seen(**given):
    """Views of many samples, two of each."""
    plan = Oriented(**(PLAIN | {"flip_vertical": 0.0, "turn": 0.0} | given))
    return np.concatenate([views(plan, index) for index in range(200)])


def test_without_any_of_it_they_are_crops():
    plan = {"flip_vertical": 0.0, "turn": 0.0}
    for index in range(5):
        np.testing.assert_array_equal(views(Oriented(**plan), index), views(Crops(), index))


def test_half_of_them_are_flipped_top_to_bottom():
    made = seen(flip_vertical=0.5)
    flipped = (made == IMAGE[::-1]).all(axis=(1, 2, 3))
    assert (flipped | (made == IMAGE).all(axis=(1, 2, 3))).all()
    assert 0.4 < flipped.mean() < 0.6


def test_three_in_four_are_turned_and_all_four_are_alike():
    made = seen(turn=0.75)
    counts = [(made == np.rot90(IMAGE, k)).all(axis=(1, 2, 3)).mean() for k in range(4)]
    assert sum(counts) == pytest.approx(1.0)
    assert min(counts) > 0.17
    assert max(counts) < 0.33


def test_a_free_rotation_keeps_the_middle_and_moves_the_rest():
    made = seen(rotate=180.0).astype(float)
    assert np.isfinite(made).all()
    assert (made != IMAGE).any(axis=(1, 2, 3)).mean() > 0.95
    # about the centre, so that the four pixels there stay near their mean
    middle = made[:, 3:5, 3:5].mean(axis=(1, 2))
    assert np.abs(middle - IMAGE[3:5, 3:5].mean(axis=(0, 1))).max() < 40
    small = seen(rotate=1.0).astype(float)
    assert np.abs(small - IMAGE).mean() < np.abs(made - IMAGE).mean() / 3


def test_angles_out_of_range_are_refused():
    with pytest.raises(UsageError, match=r"--rotate is 200\.0; wanted degrees from 0 to 180"):
        check(Oriented(rotate=200.0))
