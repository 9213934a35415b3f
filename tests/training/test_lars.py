"""LARS and LARC against transcriptions of the formulas, tensor by tensor in float64."""

import pytest
import torch

from manyviews.training.lars import LARC, LARS

SHAPES = [(5, 3), (4, 2, 3, 3), (6,), ()]


def problem(seed=0):
    g = torch.Generator().manual_seed(seed)
    weights = [torch.randn(s, generator=g, dtype=torch.float64) for s in SHAPES]
    weights.append(torch.zeros(3, 2, dtype=torch.float64))  # a zero weight
    steps = [
        [torch.randn(w.shape, generator=g, dtype=torch.float64) for w in weights] for _ in range(4)
    ]
    steps[1][0].zero_()  # a zero gradient
    return weights, steps


def lars_by_hand(w, grads, *, lr, momentum, decay, trust):
    v = torch.zeros_like(w)
    for g in grads:
        d = g + decay * w
        if w.ndim > 1:
            a, b = w.norm(), d.norm()
            if a > 0 and b > 0:
                d = trust * a / b * d
        v = momentum * v + d
        w = w - lr * v
    return w


def larc_by_hand(w, grads, *, lr, momentum, decay, trust):
    v = torch.zeros_like(w)
    for g in grads:
        a, b = w.norm(), g.norm()
        d = g
        if a > 0 and b > 0:
            d = trust * a / (b + decay * a + 1e-8) * (g + decay * w)
        v = momentum * v + d
        w = w - lr * v
    return w


@pytest.mark.parametrize(("kind", "by_hand"), [(LARS, lars_by_hand), (LARC, larc_by_hand)])
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_several_steps_equal_the_formula(kind, by_hand, decay):
    weights, steps = problem()
    params = [torch.nn.Parameter(w.clone()) for w in weights]
    optimizer = kind(params, lr=0.7, momentum=0.9, weight_decay=decay, trust=0.02)
    for grads in steps:
        for p, g in zip(params, grads, strict=True):
            p.grad = g.clone()
        optimizer.step()
    for i, p in enumerate(params):
        wanted = by_hand(
            weights[i], [g[i] for g in steps], lr=0.7, momentum=0.9, decay=decay, trust=0.02
        )
        torch.testing.assert_close(p.detach(), wanted, rtol=1e-12, atol=1e-12)


def test_with_the_rate_inside_old_directions_keep_the_rate_of_their_step():
    """google-research/simclr lars_optimizer.py: v = 0.9 v + lr d, w = w - v."""
    weights, steps = problem()
    p = torch.nn.Parameter(weights[0].clone())
    optimizer = LARS([p], lr=0.0, weight_decay=0.3, trust=0.02, rate_inside=True)
    w, v = weights[0], torch.zeros_like(weights[0])
    for lr, grads in zip((0.1, 0.7, 0.2, 0.0), steps, strict=True):
        d = grads[0] + 0.3 * w
        v = 0.9 * v + lr * 0.02 * w.norm() / d.norm() * d
        w = w - v
        p.grad, optimizer.param_groups[0]["lr"] = grads[0].clone(), lr
        optimizer.step()
        torch.testing.assert_close(p.detach(), w, rtol=1e-12, atol=1e-12)


def test_the_two_conventions_differ_when_gradient_and_weight_are_not_parallel():
    weights, steps = problem()
    ends = []
    for kind in (LARS, LARC):
        p = torch.nn.Parameter(weights[0].clone())
        optimizer = kind([p], lr=1.0, weight_decay=0.3, trust=0.02)
        p.grad = steps[0][0].clone()
        optimizer.step()
        ends.append(p.detach())
    assert (ends[0] - ends[1]).abs().max() > 1e-4


@pytest.mark.parametrize("kind", [LARS, LARC])
def test_a_parameter_without_gradient_and_its_momentum_stay(kind):
    a, b = (torch.nn.Parameter(torch.ones(2, 2)) for _ in range(2))
    optimizer = kind([a, b], lr=0.1, weight_decay=0.1)
    a.grad, b.grad = torch.ones(2, 2), torch.ones(2, 2)
    optimizer.step()
    before, momentum = b.detach().clone(), optimizer.state[b]["momentum_buffer"].clone()
    a.grad, b.grad = torch.ones(2, 2), None
    optimizer.step()
    assert torch.equal(b.detach(), before)
    assert torch.equal(optimizer.state[b]["momentum_buffer"], momentum)
    assert not torch.equal(a.detach(), before)


@pytest.mark.parametrize("kind", [LARS, LARC])
def test_a_closure_is_called_with_gradients_on(kind):
    p = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = kind([p], lr=0.1)

    def closure():
        loss = (p**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure) == 4.0
    assert (p < 1).all()
