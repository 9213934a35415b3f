"""Drawn parameters: distributions of torchvision's transforms, as a pure function."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms import v2

from manyviews.views.draw import ORDERS, Draws, draw, family, streams, unit, words
from manyviews.views.plan import Crops

GLOBAL, LOCAL = family("global"), family("local")
COUNT = 4000
NEVER = 1e-3  # seeds are fixed: below this the distributions differ


def drawn(crops, *, seed=0, epoch=0, count=COUNT, height=80, width=100, family=GLOBAL) -> Draws:
    return draw(
        crops,
        seed=seed,
        epoch=epoch,
        index=np.arange(count),
        heights=np.full(count, height),
        widths=np.full(count, width),
        family=family,
    )


def arrays(draws: Draws) -> list[np.ndarray]:
    return [getattr(draws, field.name) for field in dataclasses.fields(draws)]


@pytest.mark.parametrize(("height", "width"), [(80, 100), (100, 80), (30, 200)])
def test_crops_are_distributed_as_torchvisions(height, width):
    crops = Crops(scale=(0.08, 1.0))
    ours = drawn(crops, height=height, width=width)
    transform = v2.RandomResizedCrop(32, scale=crops.scale, ratio=crops.ratio)
    torch.manual_seed(0)
    image = torch.empty(3, height, width)
    theirs = [transform.make_params([image]) for _ in range(COUNT)]
    for name in ("top", "left", "height", "width"):
        other = np.array([params[name] for params in theirs])
        for view in range(2):
            result = stats.ks_2samp(getattr(ours, name)[:, view], other)
            assert result.pvalue > NEVER, (name, view)
    assert (ours.top >= 0).all()
    assert (ours.left >= 0).all()
    assert (ours.top + ours.height <= height).all()
    assert (ours.left + ours.width <= width).all()


def test_an_impossible_shape_falls_back_to_the_largest_central_crop():
    crops = Crops(scale=(1.0, 1.0), count=1)
    one = drawn(crops, count=1, height=10, width=100).one(0, 0)
    assert (one.height, one.width, one.top, one.left) == (10, 13, 0, 43)
    one = drawn(crops, count=1, height=100, width=10).one(0, 0)
    assert (one.height, one.width, one.top, one.left) == (13, 10, 43, 0)


def test_every_position_of_a_crop_is_equally_likely_up_to_the_border():
    ours = drawn(Crops(scale=(0.25, 0.25), ratio=(1.0, 1.0)), height=8, width=8)
    assert set(ours.height.ravel()) == {4}
    for corner in (ours.top, ours.left):
        assert stats.chisquare(np.bincount(corner.ravel(), minlength=5)).pvalue > NEVER
    both = np.histogram2d(ours.top.ravel(), ours.left.ravel(), bins=5)[0]
    assert stats.chisquare(both.ravel()).pvalue > NEVER


def test_colour_factors_are_distributed_as_torchvisions():
    crops = Crops(brightness=0.8, contrast=0.4, saturation=1.5, hue=0.2)
    ours = drawn(crops)
    jitter = v2.ColorJitter(0.8, 0.4, 1.5, 0.2)
    torch.manual_seed(0)
    theirs = [jitter.make_params([]) for _ in range(COUNT)]
    for name in ("brightness", "contrast", "saturation", "hue"):
        other = np.array([params[f"{name}_factor"] for params in theirs])
        assert stats.ks_2samp(getattr(ours, name)[:, 0], other).pvalue > NEVER, name


def test_factors_fill_the_documented_ranges():
    ours = drawn(Crops(brightness=0.4, saturation=1.5, hue=0.1, sigma=(0.1, 2.0)))
    ranges = {
        "brightness": (0.6, 1.4),
        "saturation": (0.0, 2.5),
        "hue": (-0.1, 0.1),
        "sigma": (0.1, 2.0),
    }
    for name, (low, high) in ranges.items():
        values = getattr(ours, name).ravel()
        assert stats.kstest(values, "uniform", args=(low, high - low)).pvalue > NEVER, name


def test_all_24_orders_of_colour_jitter_are_equally_likely():
    assert len({tuple(order) for order in ORDERS.tolist()}) == 24
    counts = np.bincount(drawn(Crops()).order.ravel(), minlength=24)
    assert stats.chisquare(counts).pvalue > NEVER


def test_probabilities_hold_for_each_view():
    crops = Crops(flip=0.5, jitter=0.8, grey=0.2, blur=(1.0, 0.1), solarize=(0.0, 0.2))
    ours = drawn(crops)
    wanted = {
        "flip": (0.5, 0.5),
        "jitter": (0.8, 0.8),
        "grey": (0.2, 0.2),
        "blur": (1.0, 0.1),
        "solarize": (0.0, 0.2),
    }
    for name, probabilities in wanted.items():
        for view, p in enumerate(probabilities):
            spread = 4 * math.sqrt(p * (1 - p) / COUNT)
            assert abs(getattr(ours, name)[:, view].mean() - p) <= spread, (name, view)


def test_parameters_are_independent_of_each_other_and_of_their_neighbours():
    states = streams(seed=0, epoch=0, family=GLOBAL, index=np.arange(COUNT), count=2)
    other = streams(seed=0, epoch=1, family=GLOBAL, index=np.arange(COUNT), count=2)
    columns = [unit(states, slot)[:, view] for slot in range(13) for view in range(2)]
    columns += [unit(other, slot)[:, 0] for slot in range(4)]
    columns += [np.roll(columns[0], 1), np.roll(columns[1], 1)]
    correlation = np.corrcoef(np.stack(columns)) - np.eye(len(columns))
    assert np.abs(correlation).max() < 4.5 / math.sqrt(COUNT)


def test_every_bit_of_the_random_words_is_fair():
    states = streams(seed=1, epoch=2, family=LOCAL, index=np.arange(COUNT), count=1)
    word = words(states, np.arange(4, dtype=np.uint64))
    bits = (word[..., None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    shares = bits.reshape(-1, 64).mean(axis=0)
    assert np.abs(shares - 0.5).max() < 4 * 0.5 / math.sqrt(4 * COUNT)


def test_a_view_depends_on_its_name_alone():
    crops = Crops()
    every = drawn(crops, count=50)
    some = draw(
        crops,
        seed=0,
        epoch=0,
        index=np.array([31, 7]),
        heights=np.array([80, 80]),
        widths=np.array([100, 100]),
        family=GLOBAL,
    )
    for all_of_it, part in zip(arrays(every), arrays(some), strict=True):
        assert np.array_equal(all_of_it[[31, 7]], part)
    more = drawn(dataclasses.replace(crops, count=5), count=50)
    for few, many in zip(arrays(every), arrays(more), strict=True):
        assert np.array_equal(few, many[:, :2])


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"epoch": 1}, {"family": LOCAL}, {"seed": -1}, {"seed": 2**64 + 1}]
)
def test_another_seed_epoch_or_family_gives_other_views(change):
    crops = Crops(count=1)
    usual, other = drawn(crops, count=200), drawn(crops, count=200, **change)
    assert not np.isin(usual.brightness, other.brightness).any()


def test_one_view_reads_the_arrays():
    draws = drawn(Crops(), count=3)
    one = draws.one(2, 1)
    assert one.top == draws.top[2, 1]
    assert isinstance(one.top, int)
    assert one.sigma == draws.sigma[2, 1]
    assert one.order == tuple(ORDERS[draws.order[2, 1]])
    assert draws.flat().sigma[2 * 2 + 1] == one.sigma
    assert draws.take(np.array([2])).sigma[0, 1] == one.sigma
