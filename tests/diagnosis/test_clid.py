import math
from collections import Counter

import numpy as np
import pytest
import torch
from sklearn.model_selection import PredefinedSplit, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from manyviews.core import UsageError
from manyviews.diagnosis.clid import Clid, clid, cluster_learnability, combine
from manyviews.diagnosis.grouping import kmeans
from manyviews.diagnosis.neighbours import twonn
from manyviews.diagnosis.uniformity import unit


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def setup(x, clusters, seed):
    """Rows in the order that the seed draws, and their clusters."""
    z = unit(x)[torch.from_numpy(np.random.default_rng(seed).permutation(len(x)))]
    return z, kmeans(z, clusters=clusters, seed=seed).assignment


def voted(z, ids, row, known, k):
    """The cluster of most of the k nearest known rows; the nearest row's, of equals."""
    near = sorted(known, key=lambda other: -float(z[row] @ z[other]))[:k]
    votes = Counter(int(ids[other]) for other in near)
    most = max(votes.values())
    return next(int(ids[other]) for other in near if votes[int(ids[other])] == most)


def test_held_out_with_one_neighbour_is_scikit_learns_cross_validation():
    x = randn(200, 5)
    z, ids = setup(x, 12, 3)
    folds = PredefinedSplit(np.arange(200) % 5)
    theirs = cross_val_score(KNeighborsClassifier(1), z.numpy(), ids.numpy(), cv=folds).mean()
    assert cluster_learnability(x, clusters=12, k=1, seed=3) == pytest.approx(theirs)


@pytest.mark.parametrize("k", [1, 4, 7])
@pytest.mark.parametrize("protocol", ["held-out", "prequential"])
def test_each_row_is_predicted_from_the_rows_it_may_see(protocol, k):
    x = randn(60, 4)
    z, ids = setup(x, 6, 1)
    right = []
    for row in range(60):
        if protocol == "prequential":
            known = range(row)
        else:
            known = [other for other in range(60) if other % 5 != row % 5]
        if known:
            right.append(voted(z, ids, row, known, k) == int(ids[row]))
    found = cluster_learnability(x, clusters=6, k=k, seed=1, protocol=protocol)
    assert found == pytest.approx(sum(right) / len(right))
    assert 0.3 < found < 1


@pytest.mark.parametrize("chunk", [1, 13, 10_000])
@pytest.mark.parametrize("protocol", ["held-out", "prequential"])
def test_chunks_change_nothing(protocol, chunk):
    x = randn(100, 6)
    arguments = {"clusters": 5, "k": 3, "protocol": protocol}
    assert cluster_learnability(x, **arguments, chunk=chunk) == cluster_learnability(x, **arguments)


def test_clear_clusters_are_learnable_and_noise_is_less():
    places = 5 * torch.eye(8)[torch.arange(400) % 8]
    clear = cluster_learnability(places + 0.1 * randn(400, 8), clusters=8, k=5)
    noise = cluster_learnability(randn(400, 40), clusters=8, k=5)
    assert clear == 1.0
    assert noise < 0.7
    assert cluster_learnability(torch.ones(50, 3), clusters=4, k=5) == 1.0


def test_both_parts_are_there():
    x = randn(300, 6)
    found = clid(x, clusters=10, k=3, seed=2)
    assert found.learnability == cluster_learnability(x, clusters=10, k=3, seed=2)
    assert found.dimension == twonn(x)


def test_runs_are_combined_by_standard_scores():
    runs = [
        Clid(learnability=0.5, dimension=10.0),
        Clid(learnability=0.7, dimension=10.0),
        Clid(learnability=0.9, dimension=40.0),
    ]
    step = math.sqrt(1.5)
    expected = [-step - 1 / math.sqrt(2), -1 / math.sqrt(2), step + math.sqrt(2)]
    assert combine(runs) == pytest.approx(expected)
    alike = [Clid(learnability=0.5, dimension=d) for d in (1.0, 2.0)]
    assert combine(alike) == pytest.approx([-1, 1])


def test_what_cannot_be_measured_is_refused_in_one_line():
    x = randn(20, 3)
    for call, word in (
        (lambda: cluster_learnability(x, clusters=30, k=2), "fewer clusters"),
        (lambda: cluster_learnability(x, clusters=3, k=17), "k from 1 to 16"),
        (lambda: cluster_learnability(x, clusters=3, k=0), "k from 1 to 16"),
        (lambda: cluster_learnability(x[:1], clusters=1, k=1), "5 rows"),
        (lambda: cluster_learnability(x * math.nan, clusters=3, k=2), "diverged"),
        (lambda: combine([Clid(learnability=1.0, dimension=1.0)]), "2 or more, got 1"),
    ):
        with pytest.raises(UsageError) as caught:
            call()
        assert word in str(caught.value)
        assert "\n" not in str(caught.value)
