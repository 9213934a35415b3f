import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.neighbors import KNeighborsClassifier

from manyviews.core import UsageError
from manyviews.evaluation import knn as room
from manyviews.evaluation.knn import knn, neighbours, vote


def clouds(n, *, seed, classes=5, d=16, spread=1.4):
    centres = torch.randn(classes, d, generator=torch.Generator().manual_seed(0))
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, classes, (n,), generator=g)
    return centres[y] + spread * torch.randn(n, d, generator=g), y


@pytest.mark.parametrize("k", [1, 7, 20])
def test_predictions_are_those_of_sklearn_with_the_same_weights(k):
    bank, y = clouds(600, seed=1)
    queries, _ = clouds(200, seed=2)
    classifier = KNeighborsClassifier(
        k, metric="cosine", algorithm="brute", weights=lambda d: np.exp((1 - d) / 0.07)
    )
    classifier.fit(bank.double().numpy(), y.numpy())
    expected = classifier.predict(queries.double().numpy())
    assert knn(bank, y, queries, k=k).tolist() == expected.tolist()
    assert len(set(expected)) == 5


def test_the_neighbours_are_the_largest_cosines_whatever_the_chunks(monkeypatch):
    bank, _ = clouds(1500, seed=3)
    queries, _ = clouds(50, seed=4)
    full = F.normalize(queries, dim=1) @ F.normalize(bank, dim=1).T
    expected = full.sort(dim=1, descending=True).values
    for rows, chunk, k in [(1500, 50, 10), (777, 7, 10), (19, 50, 20), (1499, 13, 300), (64, 5, 5)]:
        monkeypatch.setattr(room, "_BANK_ROWS", rows)
        values, index = neighbours(bank, queries, k=k, chunk=chunk)
        torch.testing.assert_close(values, expected[:, :k])
        torch.testing.assert_close(full.gather(1, index), values)
        assert all(len(set(row)) == k for row in index.tolist())


@pytest.mark.parametrize(("width", "k"), [(16, 1), (1000, 1), (1000, 20), (1027, 5), (65, 60)])
def test_the_blockwise_top_k_is_exact(width, k):
    x = torch.randn(9, width, generator=torch.Generator().manual_seed(width + k))
    values, index = room._topk(x, k)
    assert torch.equal(values, x.topk(k, dim=1).values)
    assert torch.equal(x.gather(1, index), values)


def test_many_equal_similarities_still_give_k_different_neighbours():
    bank = torch.ones(4096, 4)
    _, index = neighbours(bank, torch.ones(3, 4), k=20)
    assert all(len(set(row)) == 20 for row in index.tolist())


def test_a_vote_is_the_sum_of_exponentials_by_class():
    similarities = torch.tensor([[0.9, 0.8, 0.75]])
    labels = torch.tensor([[2, 0, 0]])
    scores = vote(similarities, labels, classes=3, temperature=0.1)
    # relative to the nearest: e^0 against e^-1 + e^-1.5
    expected = torch.tensor([[np.exp(-1) + np.exp(-1.5), 0.0, 1.0]])
    torch.testing.assert_close(scores, expected.double(), rtol=1e-5, atol=0)


def test_a_low_temperature_follows_the_nearest_and_does_not_overflow():
    bank, y = clouds(300, seed=5)
    queries, _ = clouds(100, seed=6)
    nearest = knn(bank, y, queries, k=1)
    assert torch.equal(knn(bank, y, queries, k=50, temperature=1e-4), nearest)
    assert not torch.equal(knn(bank, y, queries, k=50, temperature=10.0), nearest)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"k": 11}, "k is 11"),
        ({"k": 0}, "k is 0"),
        ({"temperature": 0.0}, "temperature"),
        ({"bank": torch.full((10, 4), torch.nan)}, "NaN"),
        ({"queries": torch.full((2, 4), torch.inf)}, "row 0"),
        ({"queries": torch.ones(2, 5)}, "5"),
        ({"queries": torch.ones(0, 4)}, "non-empty"),
        ({"bank": torch.ones(10, 2, 2)}, "[N, D]"),
        ({"bank_labels": torch.zeros(9, dtype=torch.int64)}, "labels"),
        ({"bank_labels": torch.zeros(10)}, "int64"),
        ({"bank_labels": torch.arange(10) - 1}, "-1"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(change, word):
    given = {"bank": torch.eye(10, 4), "bank_labels": torch.arange(10), "queries": torch.ones(2, 4)}
    given = given | {"k": 3} | change
    with pytest.raises(UsageError) as caught:
        knn(given.pop("bank"), given.pop("bank_labels"), given.pop("queries"), **given)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)
