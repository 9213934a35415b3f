"""Patch masks: exact numbers, uniform places, pure."""

import numpy as np
import pytest
from scipy import stats

from manyviews.views.draw import family
from manyviews.views.masks import hidden, masks


def made(count=2, patches=49, ratio=0.75, samples=2000, **change):
    names = {
        "seed": 0,
        "epoch": 0,
        "family": family("global.mask"),
        "index": np.arange(samples),
    } | change
    return masks(**names, count=count, patches=patches, ratio=ratio)


@pytest.mark.parametrize(
    ("ratio", "patches", "number"),
    [(0.75, 196, 147), (0.75, 49, 37), (0.6, 196, 118), (0.9, 10, 9), (0.5, 3, 2)],
)
def test_every_view_hides_the_same_exact_number(ratio, patches, number):
    assert hidden(ratio, patches) == number
    mask = made(patches=patches, ratio=ratio, samples=100)
    assert mask.shape == (100, 2, patches)
    assert mask.dtype == np.bool_
    assert (mask.sum(axis=-1) == number).all()


def test_every_patch_and_every_pair_of_patches_is_hidden_equally_often():
    mask = made(count=1, patches=8, ratio=0.5, samples=8000)[:, 0]
    pairs = (mask.T.astype(np.int64) @ mask)[np.triu_indices(8, k=1)]
    singles = mask.sum(axis=0)
    # Drawn without replacement, so counts vary less than chi-square expects: an upper bound.
    assert stats.chisquare(singles).pvalue > 1e-3
    assert np.abs(pairs / 8000 - (4 / 8) * (3 / 7)).max() < 4 * np.sqrt(0.25 / 8000)


def test_masks_depend_on_seed_epoch_family_sample_and_view_and_on_nothing_else():
    mask = made(samples=50)
    assert np.array_equal(made(index=np.array([31, 7])), mask[[31, 7]])
    assert np.array_equal(made(count=4, samples=50)[:, :2], mask)
    assert not np.array_equal(mask[:, 0], mask[:, 1])
    assert not np.array_equal(mask[0], mask[1])
    assert not np.array_equal(made(samples=50, seed=1), mask)
    assert not np.array_equal(made(samples=50, epoch=1), mask)
    assert not np.array_equal(made(samples=50, family=family("local.mask")), mask)
