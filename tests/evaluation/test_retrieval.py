import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score

from manyviews.evaluation import retrieval
from manyviews.evaluation.retrieval import rank, retrieval_protocol


def clouds(n, *, seed, classes=4, d=8, spread=1.5):
    centres = torch.randn(classes, d, generator=torch.Generator().manual_seed(0))
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, classes, (n,), generator=g)
    return centres[y] + spread * torch.randn(n, d, generator=g), y


def reference(similar, relevant):
    """Average precision and first rank of one query."""
    order = similar.argsort(descending=True)
    first = int(relevant[order].nonzero()[0]) + 1
    return average_precision_score(relevant.numpy(), similar.numpy()), first


@pytest.mark.parametrize("cells", [2**24, 500])
def test_queries_rank_the_gallery_as_sklearn_scores_it(monkeypatch, cells):
    monkeypatch.setattr(retrieval, "_CELLS", cells)
    (x, y), (q, z) = clouds(200, seed=1), clouds(60, seed=2)
    found = rank(x, y, q, z)
    similar = F.normalize(q, dim=1) @ F.normalize(x, dim=1).T
    for i in range(60):
        precision, first = reference(similar[i], y == z[i])
        assert found.precision[i] == pytest.approx(precision, abs=1e-9)
        assert found.first[i] == first
    assert len(found.first.unique()) > 3


def test_features_that_are_all_the_same_score_the_share_of_the_class():
    y = torch.tensor([0] * 30 + [1] * 10)
    found = rank(torch.ones(40, 3), y, torch.ones(2, 3), torch.tensor([0, 1]))
    assert found.precision.tolist() == pytest.approx([0.75, 0.25])
    assert found.first.tolist() == [11, 31]  # behind what is equally near and not relevant


def test_measures_are_the_mean_and_the_shares():
    (x, y), (q, z) = clouds(200, seed=1), clouds(60, seed=2)
    found = rank(x, y, q, z)
    result = retrieval_protocol(x, y, q, z)
    assert list(result.measures) == ["mAP", "recall@1", "recall@5", "recall@10"]
    assert result.value == pytest.approx(float(found.precision.mean()))
    for k in (1, 5, 10):
        share = float((found.first <= k).double().mean())
        assert result.measures[f"recall@{k}"].value == pytest.approx(share)
    assert result.interval[0] < result.value < result.interval[1]
