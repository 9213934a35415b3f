"""Spherical k-means against loops, on any number of ranks, with rows that are missing."""

import math

import pytest
import torch
import torch.nn.functional as F

import forks
from manyviews.core import UsageError
from manyviews.parts import cluster
from manyviews.parts.cluster import UNASSIGNED, spherical_kmeans


def rows(count=60, dim=5, seed=0):
    g = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, dim, generator=g, dtype=torch.float64), dim=1)


def by_loops(x, start, rounds):
    """Lloyd's rounds on the sphere, row by row."""
    centroids = [x[i].clone() for i in start]

    def nearest(row):
        return max(range(len(centroids)), key=lambda k: float(row @ centroids[k]))

    for _ in range(rounds):
        members = [[] for _ in centroids]
        for row in x:
            members[nearest(row)].append(row)
        for k, found in enumerate(members):
            if found:
                mean = torch.stack(found).mean(dim=0)
                centroids[k] = mean / mean.norm()
    return torch.stack(centroids), torch.tensor([nearest(row) for row in x])


@pytest.mark.parametrize("rounds", [0, 1, 10])
def test_clusters_are_those_of_loops(rounds):
    x = rows()
    torch.manual_seed(4)
    found = spherical_kmeans(x, count=7, rounds=rounds)
    torch.manual_seed(4)
    centroids, assignment = by_loops(x, torch.randperm(60)[:7].tolist(), rounds)
    torch.testing.assert_close(found.centroids, centroids)
    assert torch.equal(found.assignment, assignment)


def test_separate_groups_are_found():
    axes = torch.eye(4, dtype=torch.float64)
    labels = torch.arange(80) % 4
    x = F.normalize(axes[labels] + 0.05 * rows(80, 4), dim=1)
    for seed in range(50):  # a start with one row of each group
        torch.manual_seed(seed)
        if len(set(labels[torch.randperm(80)[:4]].tolist())) == 4:
            break
    torch.manual_seed(seed)
    found = spherical_kmeans(x, count=4, rounds=10)
    pairs = set(zip(labels.tolist(), found.assignment.tolist(), strict=True))
    assert len(pairs) == 4


def test_an_empty_cluster_keeps_its_centroid():
    x = rows(1).expand(4, -1)  # the first of equal centroids takes all
    found = spherical_kmeans(x, count=2, rounds=5)
    torch.testing.assert_close(found.centroids, x[:2])
    assert not found.assignment.any()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_rows_that_are_not_finite_have_no_cluster_and_move_none(bad):
    x, clean = rows(), rows()
    x[[3, 59], 2] = bad
    keep = torch.tensor([i for i in range(60) if i not in (3, 59)])
    torch.manual_seed(1)
    order = torch.randperm(60)
    start = [i for i in order.tolist() if i not in (3, 59)][:6]
    torch.manual_seed(1)
    found = spherical_kmeans(x, count=6, rounds=8)
    centroids, assignment = by_loops(clean[keep], [keep.tolist().index(i) for i in start], 8)
    torch.testing.assert_close(found.centroids, centroids)
    assert torch.equal(found.assignment[keep], assignment)
    assert found.assignment[[3, 59]].tolist() == [UNASSIGNED, UNASSIGNED]


def test_too_few_rows_are_refused():
    x = rows(5)
    x[0] = math.nan
    with pytest.raises(UsageError, match=r"5 clusters need as many embeddings; there are 4"):
        spherical_kmeans(x, count=5, rounds=1)


def test_working_in_small_parts_changes_nothing(monkeypatch):
    torch.manual_seed(2)
    whole = spherical_kmeans(rows(), count=7, rounds=10)
    monkeypatch.setattr(cluster, "_ELEMENTS", 3 * 7)
    torch.manual_seed(2)
    parts = spherical_kmeans(rows(), count=7, rounds=10)
    torch.testing.assert_close(parts.centroids, whole.centroids)
    assert torch.equal(parts.assignment, whole.assignment)


def work():
    x = rows(61)  # shares are uneven
    x[[0, 40]] = math.nan
    torch.manual_seed(3)
    found = spherical_kmeans(x, count=7, rounds=10)
    return [found.centroids, found.assignment]


@pytest.mark.parametrize("ranks", [2, 3])
def test_any_number_of_ranks_finds_what_one_process_finds(ranks, tmp_path):
    def on_rank(rank):
        torch.save(work(), tmp_path / f"{rank}.pt")

    assert forks.run_ranks(ranks, on_rank, meeting=tmp_path / "meet") == [0] * ranks
    for rank in range(ranks):
        torch.testing.assert_close(torch.load(tmp_path / f"{rank}.pt"), work())
