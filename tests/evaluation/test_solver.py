import pytest
import torch
from sklearn.linear_model import LogisticRegression

from manyviews.evaluation.solver import Solver, sigmoid, softmax


def data(n, d, *, seed=0, classes=3):
    g = torch.Generator().manual_seed(seed)
    way = torch.randn(d, classes, generator=g)
    x = torch.randn(n, d, generator=g) @ torch.randn(d, d, generator=g) / d**0.5
    scores = x @ way + torch.randn(n, classes, generator=g)
    return x, scores


@pytest.mark.parametrize(("n", "d"), [(200, 12), (20, 60)])
@pytest.mark.parametrize("decay", [0.3, 0.01])
def test_the_minimum_is_sklearns_with_more_rows_or_more_columns(n, d, decay):
    x, scores = data(n, d)
    y = scores.argmax(dim=1)
    weight, bias = Solver(x, y, classes=3, iterations=500).fit(decay, tolerance=1e-9)
    model = LogisticRegression(C=1 / (decay * n), tol=1e-8, max_iter=5000)
    model.fit(x.double().numpy(), y.numpy())
    expected = torch.tensor(model.coef_).float()
    torch.testing.assert_close(weight - weight.mean(dim=0), expected, rtol=0.01, atol=3e-3)
    shift = torch.tensor(model.intercept_).float()
    torch.testing.assert_close(bias - bias.mean(), shift, rtol=0.02, atol=0.01)


def test_independent_labels_are_sklearns_one_by_one():
    x, scores = data(150, 8)
    y = scores > 0.5
    weight, bias = Solver(x, y, classes=3, partition=sigmoid, iterations=500).fit(
        0.02, tolerance=1e-9
    )
    for c in range(3):
        model = LogisticRegression(C=1 / (0.02 * 150), tol=1e-8, max_iter=5000)
        model.fit(x.double().numpy(), y[:, c].numpy())
        torch.testing.assert_close(
            weight[c], torch.tensor(model.coef_[0]).float(), rtol=0.01, atol=3e-3
        )
        assert float(bias[c]) == pytest.approx(model.intercept_[0], abs=0.01)


@pytest.mark.parametrize("partition", [softmax, sigmoid])
@pytest.mark.parametrize("rows", [2**19, 7])
def test_the_gradient_is_autograds_whatever_the_parts(monkeypatch, partition, rows):
    monkeypatch.setattr("manyviews.evaluation.solver._CACHED", rows * 6)
    x, scores = data(50, 6)
    y = scores.argmax(dim=1) if partition is softmax else (scores > 0).float()
    solver = Solver(x, y, classes=3, partition=partition)
    weight = torch.randn(3, 6).requires_grad_()
    bias = torch.randn(3).requires_grad_()
    found = solver.loss(weight.detach(), bias.detach(), 0.1)
    logits = x @ weight.T + bias
    if partition is softmax:
        loss = torch.nn.functional.cross_entropy(logits, y)
    else:
        loss = 3 * torch.nn.functional.binary_cross_entropy_with_logits(logits, y)
    loss = loss + 0.05 * weight.square().sum()
    loss.backward()
    assert float(found[0]) == pytest.approx(loss.item(), rel=1e-5)
    torch.testing.assert_close(found[1], weight.grad, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found[2], bias.grad, rtol=1e-4, atol=1e-6)


def count(solver, *args, **kwargs):
    calls = []
    loss = solver.loss
    solver.loss = lambda *a: calls.append(1) or loss(*a)
    found = solver.fit(*args, **kwargs)
    solver.loss = loss
    return len(calls), found


def test_a_start_and_a_sharper_curvature_save_iterations_and_change_nothing():
    x, scores = data(400, 20)
    x = x * torch.logspace(-1.5, 1.5, 20)
    y = scores.argmax(dim=1)
    solver = Solver(x, y, classes=3, iterations=500)
    cold, found = count(solver, 1e-4, tolerance=1e-7)
    warm, again = count(solver, 1e-4, found, tolerance=1e-7)
    assert warm < cold / 3
    torch.testing.assert_close(found[0], again[0], rtol=0.05, atol=0.05)
    solver.sharpen(*solver.fit(1e-3))
    sharp, there = count(solver, 1e-4, tolerance=1e-7)
    assert sharp < cold
    other = Solver(x, y, classes=3, iterations=500, like=solver)
    assert other.values is solver.values
    objective = [float(solver.loss(*f, 1e-4)[0]) for f in (found, there)]
    assert objective[0] == pytest.approx(objective[1], abs=1e-4)
