"""Crops of which some are masked, by shares of their own: exact, pure, as often as planned."""

import numpy as np
import pytest

from manyviews.core import UsageError, settings
from manyviews.core.inputs import Pixels
from manyviews.views.image.masked import Masked, masked
from manyviews.views.plan import Crops, Mask


def drawn(grid=(14, 14), samples=400, seed=0, epoch=0, index=None, **plan):
    maker = Masked(**plan).maker("global", Pixels(side=28), grid, seed=seed)
    where = np.arange(samples) if index is None else np.asarray(index)
    return maker.masks(where, epoch)["mask"]


@pytest.mark.parametrize("kind", ["block", "random"])
def test_half_the_crops_hide_a_share_drawn_uniformly_and_the_rest_nothing(kind):
    numbers = drawn(samples=1000, mask=Mask(ratio=0.5, kind=kind)).sum(axis=-1).reshape(-1)
    some = numbers[numbers > 0]
    assert abs(len(some) / 2000 - 0.5) < 0.04
    assert some.min() in (19, 20)
    assert some.max() == 97
    # Uniform from 0.1 to 0.5: mean 0.3, deviation 0.4 / sqrt(12).
    assert abs(some.mean() / 196 - 0.3) < 0.015
    assert abs(some.std() / 196 - 0.4 / 12**0.5) < 0.01


def test_blocks_hide_neighbours_and_random_tokens_do_not():
    def touching(kind):
        made = drawn(masked=1.0, mask=Mask(ratio=0.5, kind=kind)).reshape(-1, 14, 14)
        return (made[:, 1:] & made[:, :-1]).sum() / made.sum()

    assert touching("block") > 0.7
    assert touching("random") < 0.4


def test_all_or_no_crops_can_be_masked():
    assert drawn(masked=1.0).any(axis=-1).all()
    assert not drawn(masked=0.0).any()


@pytest.mark.parametrize("kind", ["block", "random"])
def test_masks_depend_on_seed_epoch_sample_and_view_and_on_nothing_else(kind):
    plan = {"mask": Mask(ratio=0.5, kind=kind), "samples": 40}
    whole = drawn(**plan, count=2)
    assert np.array_equal(drawn(**plan, index=[31, 7], count=2), whole[[31, 7]])
    assert np.array_equal(drawn(**plan, count=1), whole[:, :1])
    for change in ({"seed": 1}, {"epoch": 1}):
        assert not np.array_equal(drawn(**plan, count=2, **change), whole)
    assert not np.array_equal(whole[:, 0], whole[:, 1])


def test_masks_that_cannot_be_are_refused():
    with pytest.raises(UsageError, match="least"):
        settings.check(Masked(least=0.6))
    with pytest.raises(UsageError, match="of kind random or block"):
        settings.check(Masked(mask=Mask(ratio=0.75, kind="grid")))
    with pytest.raises(UsageError, match=r"hides blocks of rows and columns.*kind random"):
        drawn(grid=(16,))
    assert drawn(grid=(16,), mask=Mask(ratio=0.5)).shape == (400, 2, 16)


def test_a_plan_of_crops_keeps_everything_but_its_mask():
    plan = Crops(count=3, scale=(0.25, 1.0), blur=(1.0, 0.1, 0.0))
    made = masked(plan)
    assert (made.count, made.scale, made.blur) == (3, (0.25, 1.0), (1.0, 0.1, 0.0))
    assert made.mask == Mask(ratio=0.5, kind="block")
