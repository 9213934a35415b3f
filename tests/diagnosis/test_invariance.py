import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.distance import pdist

from manyviews.core import UsageError
from manyviews.diagnosis.invariance import Bar, invariance


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def transcribed(plain, changed):
    mean = plain.double().mean(dim=0)
    x, y = (F.normalize(z.double() - mean).numpy() for z in (plain, changed))
    return np.linalg.norm(x - y, axis=1).mean() / pdist(x).mean(), (x * y).sum(axis=1).mean()


@pytest.mark.parametrize("offset", [0.0, 50.0])
def test_a_bar_is_the_distance_to_oneself_over_that_to_others(offset):
    plain = randn(40, 6) + offset
    changed = plain + 0.5 * randn(40, 6, seed=1)
    bar = invariance(plain, {"blur": changed})["blur"]
    change, cosine = transcribed(plain, changed)
    assert bar.change == pytest.approx(change)
    assert bar.cosine == pytest.approx(cosine)
    assert bar.low < bar.change < bar.high


def test_0_is_unchanged_and_1_is_another_image():
    plain = randn(400, 16)
    bars = invariance(plain, {"none": plain, "other": plain.roll(1, dims=0), "most": -plain})
    assert bars["none"] == Bar(change=0.0, low=0.0, high=0.0, cosine=pytest.approx(1))
    assert bars["other"].change == pytest.approx(1, abs=0.03)
    assert bars["other"].low < 1 < bars["other"].high
    assert bars["other"].cosine == pytest.approx(0, abs=0.05)
    assert bars["most"].change > 1.3


def test_a_mean_that_all_images_share_hides_nothing():
    plain = randn(100, 8)
    changed = plain + randn(100, 8, seed=1)
    near, far = (
        invariance(plain + mean, {"a": changed + mean})["a"].change for mean in (0.0, 1000.0)
    )
    assert far == pytest.approx(near, rel=1e-3)


def uneven():
    """Images and changed ones: distances to oneself differ, those to others hardly."""
    plain = randn(120, 5) * torch.linspace(0.3, 2, 120)[:, None]
    width = torch.rand(120, 1, generator=torch.Generator().manual_seed(2))
    return plain, plain + width * randn(120, 5, seed=1)


def crowded():
    """The reverse: most images in one place, all turned by the same angle."""
    plain = torch.cat([0.05 * randn(90, 2) + 1, 3 * randn(30, 2, seed=1)])
    centred = plain - plain.mean(dim=0)
    turn = torch.tensor([[math.cos(0.3), math.sin(0.3)], [-math.sin(0.3), math.cos(0.3)]])
    return plain, centred @ turn + plain.mean(dim=0)


@pytest.mark.parametrize("make", [uneven, crowded])
def test_the_interval_is_as_wide_as_a_bootstraps(make):
    plain, changed = make()
    bar = invariance(plain, {"a": changed})["a"]
    mean = plain.double().mean(dim=0)
    x, y = (F.normalize(z.double() - mean) for z in (plain, changed))
    own, between = (x - y).norm(dim=1).numpy(), torch.cdist(x, x).numpy()
    random, found = np.random.default_rng(0), []
    for _ in range(1000):
        rows = random.integers(120, size=120)
        pairs = between[np.ix_(rows, rows)]
        different = rows[:, None] != rows
        found.append(own[rows].mean() / pairs[different].mean())
    low, high = np.percentile(found, [2.5, 97.5])
    assert bar.high - bar.low == pytest.approx(high - low, rel=0.15)
    assert bar.low == pytest.approx(low, abs=0.15 * (high - low))


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_chunks_change_nothing(chunk):
    plain = randn(30, 4)
    changed = {"a": plain + randn(30, 4, seed=1)}
    assert invariance(plain, changed, chunk=chunk)["a"].change == pytest.approx(
        invariance(plain, changed)["a"].change
    )


@pytest.mark.parametrize(
    ("plain", "changed", "word"),
    [
        (torch.ones(1, 3), torch.ones(1, 3), "2 or more"),
        (torch.ones(5, 3), torch.ones(5, 3), "collapsed"),
        (3 + 1e-7 * randn(7, 3).double(), torch.ones(7, 3), "collapsed"),
        (torch.eye(3), torch.eye(4), "'flip'"),
        (torch.eye(3), torch.full((3, 3), math.nan), "diverged"),
        (torch.ones(0, 3), torch.ones(0, 3), "non-empty"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(plain, changed, word):
    with pytest.raises(UsageError) as caught:
        invariance(plain, {"flip": changed})
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)
