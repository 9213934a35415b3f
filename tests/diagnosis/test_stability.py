import math

import pytest
import torch
import torch.nn.functional as F
from sklearn.neighbors import NearestNeighbors

from manyviews.core import UsageError
from manyviews.diagnosis.neighbours import shared_neighbours, view_consistency
from manyviews.diagnosis.stability import graph_stability


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("k", [1, 5, 39])
def test_it_is_the_overlap_of_scikit_learns_neighbours(k):
    a = randn(40, 6)
    b = torch.cat([a + 0.5 * randn(40, 6, seed=1), randn(40, 3, seed=2)], dim=1)
    near = [
        NearestNeighbors(n_neighbors=k).fit(z).kneighbors(return_distance=False)
        for z in (F.normalize(a).numpy(), F.normalize(b).numpy())
    ]
    overlaps = [len(set(x) & set(y)) / len(set(x) | set(y)) for x, y in zip(*near, strict=True)]
    assert graph_stability(a, b, k=k) == pytest.approx(sum(overlaps) / 40)


def test_it_is_1_for_turned_and_scaled_features_and_chance_for_others():
    a = randn(200, 16)
    turned = 3 * a @ torch.linalg.qr(randn(16, 16, seed=1)).Q
    assert graph_stability(a, turned) == pytest.approx(1, abs=1e-3)
    assert graph_stability(a, randn(200, 16, seed=2)) == pytest.approx(20 / 380, abs=0.02)


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_chunks_change_nothing(chunk):
    a = randn(50, 6)
    b = a + randn(50, 6, seed=1)
    assert graph_stability(a, b, k=5, chunk=chunk) == pytest.approx(graph_stability(a, b, k=5))


@pytest.mark.parametrize(
    ("a", "b", "k", "word"),
    [
        (torch.ones(5, 2), torch.ones(6, 2), 2, "5 and 6"),
        (torch.ones(5, 2), torch.ones(5, 2), 5, "1 to 4"),
        (torch.ones(5, 2), torch.ones(5, 2), 0, "1 to 4"),
        (torch.ones(1, 2), torch.ones(1, 2), 1, "more samples"),
        (torch.ones(5, 2), torch.full((5, 2), math.nan), 2, "diverged"),
    ],
)
def test_what_has_no_neighbours_is_refused_in_one_line(a, b, k, word):
    with pytest.raises(UsageError) as caught:
        graph_stability(a, b, k=k)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_views_of_images_that_share_something_have_neighbours_in_common():
    generator = torch.Generator().manual_seed(0)
    groups = torch.randn(20, 16, generator=generator).repeat_interleave(11, 0)
    noise = torch.randn(2, 220, 16, generator=generator)
    a, b = groups + 0.1 * noise[0], groups + 0.1 * noise[1]
    assert shared_neighbours(a, b) == pytest.approx(1)
    assert shared_neighbours(noise[0], noise[1]) < 2 * 10 / (2 * 220 - 10)
    with pytest.raises(UsageError, match="the same samples"):
        shared_neighbours(a, b[:-1])
    few = torch.randn(5, 4, generator=generator)
    assert shared_neighbours(few, few) == 1


def test_that_an_image_finds_itself_does_not_count():
    """Every image has a code of its own, which both views hold, and no two have more in common."""
    generator = torch.Generator().manual_seed(0)
    own = torch.randn(300, 2000, generator=generator)
    a, b = (own + 0.5 * torch.randn(300, 2000, generator=generator) for _ in range(2))
    assert view_consistency(a, b) == 1
    assert shared_neighbours(a, b) < 0.35
