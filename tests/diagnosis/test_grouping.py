import math

import pytest
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from manyviews.core import UsageError
from manyviews.diagnosis.grouping import (
    adjusted_rand,
    consistency,
    kmeans,
    nearest_centre,
    nmi,
    stability,
)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def blobs(n, clusters, *, d=8, noise=0.05, seed=0):
    """[n, d] around well separated directions, and which one each row is at."""
    centres = torch.linalg.qr(randn(d, d)).Q[:clusters]
    which = torch.randint(clusters, (n,), generator=torch.Generator().manual_seed(seed))
    return centres[which] + noise * randn(n, d, seed=seed + 1), which


def test_blobs_are_found():
    x, which = blobs(400, 6)
    found = kmeans(x, clusters=6)
    assert adjusted_rand(found.assignment, which) == pytest.approx(1)
    means = torch.stack([x[found.assignment == k].mean(dim=0) for k in range(6)])
    torch.testing.assert_close(found.centres, means, rtol=1e-4, atol=1e-5)
    assert found.inertia == pytest.approx(
        float((x - means[found.assignment]).square().sum()), rel=1e-4
    )


@pytest.mark.parametrize(("n", "d", "clusters"), [(500, 10, 12), (300, 3, 30), (200, 40, 5)])
@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_inertia_is_as_low_as_scikit_learns(n, d, clusters, offset):
    x = randn(n, d) * torch.linspace(0.2, 2, d)
    theirs = KMeans(clusters, n_init=5, random_state=0).fit(x.numpy()).inertia_
    ours = kmeans(x + offset, clusters=clusters, restarts=5).inertia
    assert ours == pytest.approx(theirs, rel=0.03)


def test_it_ends_where_every_row_is_at_its_nearest_centre():
    x = randn(300, 5)
    found = kmeans(x, clusters=7, iterations=300)
    nearest = torch.cdist(x, found.centres).argmin(dim=1)
    assert torch.equal(found.assignment, nearest)
    assert torch.equal(nearest_centre(x, found.centres), nearest)
    assert len(found.assignment.unique()) == 7


@pytest.mark.parametrize("chunk", [1, 37, 10_000])
def test_chunks_change_nothing(chunk):
    x, _ = blobs(200, 5, noise=0.3)
    assert torch.equal(
        kmeans(x, clusters=5, chunk=chunk).assignment, kmeans(x, clusters=5).assignment
    )


def test_the_seed_decides_and_nothing_else():
    x = randn(400, 6)
    state = torch.get_rng_state()
    first = kmeans(x, clusters=20, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.assignment, kmeans(x, clusters=20, seed=3).assignment)
    assert not torch.equal(first.assignment, kmeans(x, clusters=20, seed=4).assignment)


def test_restarts_do_not_make_it_worse():
    x = randn(300, 4)
    assert kmeans(x, clusters=15, restarts=4).inertia <= kmeans(x, clusters=15).inertia


def test_fewer_distinct_rows_than_clusters_are_no_trouble():
    x = torch.tensor([[0.0, 0.0], [1.0, 1.0]]).repeat(20, 1)
    found = kmeans(x, clusters=5)
    assert found.inertia == pytest.approx(0, abs=1e-9)
    assert torch.equal(found.assignment == found.assignment[0], x[:, 0] == 0)
    assert kmeans(torch.ones(6, 2), clusters=6).inertia == 0


def test_an_empty_cluster_moves_to_where_it_is_needed():
    # every start in one place: without a move, the two far rows would stay in one cluster
    from manyviews.diagnosis.grouping import _lloyd

    x = torch.cat([torch.zeros(20, 1), torch.tensor([[10.0], [30.0]])])
    found = _lloyd(x, torch.zeros(3, 1), 50, 100)
    assert found.inertia == pytest.approx(0)


@pytest.mark.parametrize("seed", range(3))
def test_indices_are_scikit_learns(seed):
    g = torch.Generator().manual_seed(seed)
    a, b = torch.randint(7, (200,), generator=g), torch.randint(4, (200,), generator=g)
    b[:100] = a[:100] % 4
    assert adjusted_rand(a, b) == pytest.approx(adjusted_rand_score(a, b))
    assert nmi(a, b) == pytest.approx(normalized_mutual_info_score(a, b))


@pytest.mark.parametrize("index", [adjusted_rand, nmi])
def test_names_of_clusters_do_not_matter(index):
    a = torch.tensor([0, 0, 1, 1, 2, 2])
    assert index(a, torch.tensor([9, 9, 4, 4, 5, 5])) == pytest.approx(1)
    assert index(torch.zeros(4), torch.zeros(4)) == 1.0
    with pytest.raises(UsageError, match="same rows"):
        index(a, a[:3])
    with pytest.raises(UsageError, match="same rows"):
        index(a[:0], a[:0])


def test_clusters_that_are_there_are_stable_and_those_of_noise_are_not():
    assert stability(blobs(400, 6)[0], clusters=6) == pytest.approx(1)
    noise = stability(randn(400, 30), clusters=6)
    assert noise < 0.2
    assert noise == stability(randn(400, 30), clusters=6)


def test_stability_fits_each_half_without_the_other():
    # an outlier is a cluster to whoever sees it, and only one half does
    x = torch.eye(3)[torch.arange(60) % 2] + 0.01 * randn(60, 3)
    x = torch.cat([x, torch.tensor([[0.0, 0.0, 5.0]])])
    both = [kmeans(x, clusters=3, seed=seed).assignment for seed in (0, 1)]
    assert adjusted_rand(*both) == pytest.approx(1)
    assert stability(x, clusters=3) < 0.9


def test_views_of_an_image_fall_together_where_features_are_invariant():
    a, which = blobs(300, 5, seed=1)
    b = F.normalize(a) + 0.02 * randn(300, 8, seed=9)
    found = consistency(a, b, clusters=5)
    shares = torch.bincount(which).double() / 300
    assert found.share == pytest.approx(1)
    assert found.chance == pytest.approx(float(shares.square().sum()), abs=0.01)
    assert found.above_chance == pytest.approx(1)


def test_views_of_other_images_fall_together_by_chance():
    a, _ = blobs(600, 5, seed=1)
    b, _ = blobs(600, 5, seed=2)
    found = consistency(a, b, clusters=5)
    assert found.share == pytest.approx(found.chance, abs=0.05)
    assert found.above_chance == pytest.approx(0, abs=0.06)


def test_a_collapsed_network_is_no_better_than_chance():
    found = consistency(torch.ones(50, 4), torch.ones(50, 4), clusters=5)
    assert (found.share, found.chance, found.above_chance) == (1.0, 1.0, 0.0)


def test_what_cannot_be_grouped_is_refused_in_one_line():
    x = randn(10, 3)
    for call, word in (
        (lambda: kmeans(x, clusters=11), "more samples, or fewer clusters"),
        (lambda: kmeans(x, clusters=0), "wanted 1 to 10"),
        (lambda: kmeans(x * math.nan, clusters=2), "diverged"),
        (lambda: kmeans(x[:0], clusters=2), "non-empty"),
        (lambda: stability(x, clusters=6), "twice as many rows"),
        (lambda: stability(x, clusters=1), "2 or more clusters"),
        (lambda: consistency(x, x[:5], clusters=2), "same samples"),
        (lambda: consistency(x, x, clusters=30), "fewer clusters"),
    ):
        with pytest.raises(UsageError) as caught:
            call()
        assert word in str(caught.value)
        assert "\n" not in str(caught.value)
