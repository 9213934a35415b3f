import math

import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import pdist, squareform

from manyviews.core import UsageError
from manyviews.diagnosis import dimension as room
from manyviews.diagnosis.dimension import mst_dimension


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def mst_length(features):
    return room._length(room._distances(features.double()))


def uniform(n, dimension, width=20, seed=0):
    """[n, width]: a flat cube of this dimension, turned and far from the origin."""
    x = torch.rand(n, dimension, generator=torch.Generator().manual_seed(seed))
    return 100 + 3 * x @ torch.linalg.qr(randn(width, dimension)).Q.T


@pytest.mark.parametrize("shape", [(2, 3), (50, 2), (200, 30), (300, 1)])
def test_the_tree_is_as_long_as_scipys(shape):
    x = randn(*shape) + 5
    expected = minimum_spanning_tree(squareform(pdist(x.double().numpy()))).sum()
    assert mst_length(x) == pytest.approx(expected, rel=1e-9)


def test_the_tree_of_a_line_is_its_span_and_duplicates_add_nothing():
    x = torch.tensor([[3.0], [0.0], [10.0], [4.0]])
    assert mst_length(x) == pytest.approx(10)
    assert mst_length(torch.cat([x, x, x])) == pytest.approx(10)
    wide = randn(100, 30)
    assert mst_length(torch.cat([wide, wide])) == pytest.approx(mst_length(wide), rel=1e-12)
    assert mst_length(torch.ones(5, 2)) == 0.0
    assert mst_length(torch.ones(1, 2)) == 0.0


@pytest.mark.parametrize(("dimension", "tolerance"), [(1, 0.03), (2, 0.1), (4, 0.15), (8, 0.25)])
def test_it_finds_the_dimension_of_a_flat_cube(dimension, tolerance):
    found = mst_dimension(uniform(1024, dimension))
    assert found == pytest.approx(dimension, rel=tolerance)


def test_it_is_the_slope_of_log_length():
    x = randn(256, 5)
    order = np.random.default_rng(3).permutation(256)
    sizes, lengths = [256, 128, 64], []
    for size in sizes:
        parts = [x[order[start : start + size]] for start in range(0, 256, size)]
        trees = [
            minimum_spanning_tree(squareform(pdist(part.double().numpy()))).sum() for part in parts
        ]
        lengths.append(sum(trees) / len(trees))
    slope = np.polyfit(np.log(sizes), np.log(lengths), 1)[0]
    assert mst_dimension(x, seed=3, subsamples=3) == pytest.approx(1 / (1 - slope), rel=1e-6)


def test_more_rows_than_are_looked_at_change_little():
    x = uniform(2000, 3)
    found = mst_dimension(x, rows=512)
    assert found == pytest.approx(3, rel=0.2)
    assert found == mst_dimension(x, rows=512)
    assert found != mst_dimension(x, rows=512, seed=1)


def test_equal_features_have_no_dimension():
    assert mst_dimension(torch.ones(300, 4)) == 0.0


def test_scale_and_place_do_not_matter():
    x = randn(256, 6).double()
    assert mst_dimension(1e-3 * x + 7) == pytest.approx(mst_dimension(x), rel=1e-6)
    assert mst_dimension(x + 1e7) == pytest.approx(mst_dimension(x), rel=1e-4)


@pytest.mark.parametrize(
    ("x", "subsamples", "word"),
    [
        (torch.ones(60, 3), 4, "128 rows"),
        (torch.ones(600, 3), 1, "2 sizes"),
        (torch.full((600, 3), math.nan), 4, "diverged"),
        (torch.ones(0, 3), 4, "non-empty"),
    ],
)
def test_what_has_no_dimension_is_refused_in_one_line(x, subsamples, word):
    with pytest.raises(UsageError) as caught:
        mst_dimension(x, subsamples=subsamples)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)
