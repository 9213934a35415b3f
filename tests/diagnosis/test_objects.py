"""LOST and TokenCut against transcriptions with scipy, and on objects that were put there."""

import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage
import torch
from torch.nn import functional as F

from manyviews.diagnosis.objects import Region, lost, tokencut

torch.set_num_threads(1)
GRID = (8, 10)


def scene(seed=0, noise=0.6, top=2, left=3, height=3, width=4):
    """Patches of a ground and of an object, which point to opposite sides, with noise."""
    g = torch.Generator().manual_seed(seed)
    mask = torch.zeros(GRID, dtype=torch.bool)
    mask[top : top + height, left : left + width] = True
    one = F.normalize(torch.randn(32, generator=g), dim=0) * 4
    x = torch.where(mask.flatten()[:, None], one, -one)
    return x + noise * torch.randn(x.shape, generator=g), mask.numpy()


def component(inside, seed):
    parts, _ = scipy.ndimage.label(inside)
    return parts == parts[seed]


def lost_as_published(features, few):
    a = features.numpy().astype(np.float64)
    a = a @ a.T
    score = a.copy()
    np.fill_diagonal(score, 0)
    order = np.argsort((score > 0).sum(1), kind="stable")
    seed, potentials = order[0], order[:few]
    similars = [p for p in potentials if a[seed, p] > 0]
    m = a[similars].sum(0).reshape(GRID)
    return m, component(m > 0, np.unravel_index(seed, GRID))


def tokencut_as_published(features):
    f = F.normalize(features).double().numpy()
    a = np.where(f @ f.T > 0.2, 1.0, 1e-5)
    d = np.diag(a.sum(1))
    _, vectors = scipy.linalg.eigh(d - a, d, subset_by_index=[1, 2])
    y = vectors[:, 0]
    side = y > y.mean()
    seed = np.argmax(np.abs(y))
    if not side[seed]:
        y, side = -y, ~side
    return y.reshape(GRID), component(side.reshape(GRID), np.unravel_index(seed, GRID))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("noise", [0.6, 2.0])
def test_lost_is_as_published(seed, noise):
    x, _ = scene(seed, noise)
    for few in (5, 100):
        found = lost(x, GRID, seeds=few)
        m, mask = lost_as_published(x, few)
        np.testing.assert_allclose(found.map, m, rtol=1e-4, atol=1e-4)
        assert np.array_equal(found.mask, mask)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("noise", [0.6, 1.0, 1.5])
def test_tokencut_is_as_published(seed, noise):
    x, _ = scene(seed, noise)
    found = tokencut(x, GRID)
    y, mask = tokencut_as_published(x)
    scale = np.linalg.norm(y) / np.linalg.norm(found.map)
    np.testing.assert_allclose(np.abs(found.map) * scale, np.abs(y), rtol=1e-3, atol=1e-5)
    assert np.array_equal(found.mask, mask)


@pytest.mark.parametrize("find", [lost, tokencut])
def test_an_object_is_framed(find):
    x, mask = scene()
    found = find(x, GRID)
    assert np.array_equal(found.mask, mask)
    assert found.box == (0.3, 0.25, 0.7, 0.625)


@pytest.mark.parametrize("find", [lost, tokencut])
def test_a_second_object_that_touches_by_a_corner_alone_is_not_joined(find):
    x, mask = scene(noise=0.1)
    twin = x[mask.flatten()].mean(0)
    x = x.clone().view(*GRID, -1)
    x[5, 7] = twin
    first = find(x.flatten(0, 1), GRID).mask
    assert not (first[5, 7] and first[4, 6])
    x[4, 7] = twin  # now a side joins them
    assert find(x.flatten(0, 1), GRID).mask[5, 7]


@pytest.mark.parametrize("find", [lost, tokencut])
def test_features_that_are_all_alike_give_the_whole_image_or_a_part_and_no_error(find):
    for x in (torch.ones(80, 4), torch.zeros(80, 4)):
        found = find(x, GRID)
        assert found.mask.any()
        assert found.mask[found.seed]


def test_a_box_is_in_shares_of_the_sides():
    mask = np.zeros((4, 5), bool)
    mask[1, 2] = mask[2, 2] = True
    assert Region(mask.astype("f4"), mask, (1, 2)).box == (0.4, 0.25, 0.6, 0.75)
