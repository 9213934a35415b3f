import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from manyviews.core import UsageError
from manyviews.evaluation.linear import hold_out
from manyviews.evaluation.logreg import COSTS, logistic_regression


def blobs(n, *, seed, classes=4, d=10):
    centres = torch.randn(classes, d, generator=torch.Generator().manual_seed(0))
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, classes, (n,), generator=g)
    return 3 * (centres[y] + 1.5 * torch.randn(n, d, generator=g)) + 40, y


def test_the_costs_are_the_45_of_the_papers():
    np.testing.assert_allclose(COSTS, np.logspace(-6, 5, 45))


@pytest.mark.parametrize("cost", [1e-4, 1e-2, 1.0])
def test_at_one_cost_it_is_sklearns_on_features_as_they_are(cost):
    (x, y), (q, _) = blobs(300, seed=1), blobs(200, seed=2)
    predictions, probe = logistic_regression(x, y, q, cost=cost)
    model = LogisticRegression(C=cost, tol=1e-8, max_iter=10_000)
    model.fit((x - x.mean(dim=0)).double().numpy(), y.numpy())
    expected = torch.tensor(model.coef_).float()
    torch.testing.assert_close(
        probe.weight - probe.weight.mean(dim=0), expected, rtol=0.02, atol=3e-3
    )
    theirs = torch.tensor(model.predict((q - x.mean(dim=0)).double().numpy()))
    assert (predictions == theirs).float().mean() > 0.985
    assert probe.tried == {}


def test_the_cost_is_that_of_a_search_by_sklearn_on_the_same_held_out_part():
    (x, y), (q, z) = blobs(400, seed=3), blobs(1000, seed=4)
    predictions, probe = logistic_regression(x, y, q)
    held = hold_out(y, share=0.1, seed=0)
    best = 0.0
    for cost in COSTS[::4]:
        model = LogisticRegression(C=cost, max_iter=3000).fit(x[~held] - 40, y[~held])
        right = model.score(x[held] - 40, y[held])
        best = max(best, right)
        assert probe.tried[cost] == pytest.approx(right, abs=0.051)  # 2 of 40
    assert set(probe.tried) == set(COSTS)
    cost = 1 / (probe.decay * 400)
    closest = min(COSTS, key=lambda c: abs(c - cost))
    assert cost == pytest.approx(closest)
    assert probe.tried[closest] == max(probe.tried.values()) >= best - 0.03
    model = LogisticRegression(C=cost, max_iter=3000).fit(x - 40, y)
    assert float((predictions == z).float().mean()) == pytest.approx(
        model.score(q - 40, z), abs=0.01
    )


def test_the_features_are_not_scaled():
    # where only a small feature tells the classes apart, a strong penalty loses it
    g = torch.Generator().manual_seed(5)
    y = torch.arange(200) % 2
    x = torch.randn(200, 2, generator=g)
    x[:, 1] = 1e-3 * (2.0 * y - 1)
    _, weak = logistic_regression(x, y, x, cost=1e-2)
    assert weak.weight[:, 1].abs().max() < 0.01
    strong, _ = logistic_regression(x, y, x, cost=1e8)
    assert torch.equal(strong, y)


def test_what_cannot_be_used_is_refused_in_one_line():
    with pytest.raises(UsageError, match="1 class"):
        logistic_regression(torch.eye(4), torch.zeros(4, dtype=torch.int64), torch.eye(4))
