"""SwAV against its formula and against numbers of the authors' code (data/README.md)."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from manyviews.core import Batch, Clock, Encoder, Features
from manyviews.losses.clustering import swapped_cross_entropy
from manyviews.methods.clustering.swav import SwAV, SwAVConfig
from manyviews.parts.assign import entropies, sinkhorn
from manyviews.parts.prototypes import Prototypes
from tiny import given

SAVED = {
    k: torch.from_numpy(v) for k, v in np.load(Path(__file__).parent / "data" / "swav.npz").items()
}


def swap_by_loops(scores, target, temperature):
    """Equation 2 pair by pair: both assigned views, mean over the views that predict each."""
    total = 0.0
    count, views, _ = scores.shape
    for assigned in range(target.shape[1]):
        for view in range(views):
            if view == assigned:
                continue
            for sample in range(count):
                weights = (scores[sample, view] / temperature).exp()
                p = weights / weights.sum()
                total = total - (target[sample, assigned] * p.log()).sum() / count / (views - 1)
    return total / target.shape[1]


def sinkhorn_by_loops(scores, epsilon, rounds):
    """Algorithm 1 with its constants, on [K, B] as the paper writes it."""
    q = (scores / epsilon).exp().T.clone()
    k, b = q.shape
    q /= q.sum()
    for _ in range(rounds):
        for row in range(k):
            q[row] /= q[row].sum() * k
        for column in range(b):
            q[:, column] /= q[:, column].sum() * b
    return (q * b).T


class Flat(Encoder):
    """Pixels as features, so that the head is the whole network."""

    dim, grid = 5, (1,)

    def forward(self, x, *, keep=None, hide=None, blocks=0, tokens=True):
        return Features(x.flatten(1), x.flatten(1)[:, None])


def toy(saved, *, queue, frozen_until=0.0):
    """The network of the saved run: one linear layer, unit length, prototypes."""
    config = SwAVConfig(
        hidden=4, out=3, prototypes=6, queue=queue, queue_from=0.0, frozen_until=frozen_until
    )
    method = SwAV(given(Flat()), config).double()
    method.online.head = nn.Linear(5, 3).double()
    with torch.no_grad():
        method.online.head.weight.copy_(SAVED[f"{saved}.lin.weight"])
        method.online.head.bias.copy_(SAVED[f"{saved}.lin.bias"])
        method.prototypes.weight.copy_(SAVED[f"{saved}.prototypes.weight"])
    method.prototypes.normalise_()
    return method


def toy_batch(x):
    """[B, V, F] -> a batch with 2 global and 2 local views."""
    views = {"global": x[:, :2, :, None, None], "local": x[:, 2:, :, None, None]}
    return Batch(views, torch.arange(len(x)))


def test_the_loss_and_its_gradient_are_the_formula():
    g = torch.Generator().manual_seed(0)
    scores = torch.randn(5, 4, 7, generator=g, dtype=torch.float64, requires_grad=True)
    target = torch.randn(5, 2, 7, generator=g, dtype=torch.float64).softmax(dim=-1)
    ours = swapped_cross_entropy(scores, target, temperature=0.3)
    (grad,) = torch.autograd.grad(ours, scores)
    theirs = swap_by_loops(scores, target, 0.3)
    (expected,) = torch.autograd.grad(theirs, scores)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
    torch.testing.assert_close(grad, expected, rtol=1e-10, atol=1e-14)


def test_no_gradient_reaches_the_target():
    target = torch.rand(2, 2, 3, requires_grad=True)
    loss = swapped_cross_entropy(torch.randn(2, 3, 3).requires_grad_(), target, temperature=1.0)
    loss.backward()
    assert target.grad is None


@pytest.mark.parametrize("rounds", [1, 3])
def test_assignments_are_algorithm_1(rounds):
    g = torch.Generator().manual_seed(1)
    scores = torch.rand(9, 6, generator=g, dtype=torch.float64) * 2 - 1
    ours = sinkhorn(scores, temperature=0.05, rounds=rounds)
    theirs = sinkhorn_by_loops(scores, 0.05, rounds)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-15)
    torch.testing.assert_close(ours.sum(dim=1), torch.ones(9, dtype=torch.float64))


def test_many_rounds_fill_all_prototypes_equally():
    scores = torch.randn(12, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    used = sinkhorn(scores, temperature=0.5, rounds=200).sum(dim=0)
    torch.testing.assert_close(used, torch.full((4,), 3.0, dtype=torch.float64))


def test_tiny_temperatures_and_half_precision_stay_finite():
    scores = (torch.rand(6, 4) * 2 - 1).bfloat16()
    target = sinkhorn(scores, temperature=1e-3)
    assert target.dtype == torch.float32
    assert target.isfinite().all()
    torch.testing.assert_close(target.sum(dim=1), torch.ones(6))


def test_assignments_are_those_of_the_authors_code():
    ours = sinkhorn(SAVED["sinkhorn.scores"], temperature=0.05)
    torch.testing.assert_close(ours, SAVED["sinkhorn.target"], rtol=1e-9, atol=1e-15)


def test_one_step_has_the_gradient_of_the_authors_code():
    method = toy("grad.p", queue=0)
    method(toy_batch(SAVED["grad.x"]), Clock(0, 1)).total.backward()
    close = {"rtol": 1e-8, "atol": 1e-13}
    head = method.online.head
    torch.testing.assert_close(head.weight.grad, SAVED["grad.g.lin.weight"], **close)
    torch.testing.assert_close(head.bias.grad, SAVED["grad.g.lin.bias"], **close)
    prototypes = method.prototypes.weight.grad
    torch.testing.assert_close(prototypes, SAVED["grad.g.prototypes.weight"], **close)


def test_seven_steps_with_a_queue_and_frozen_prototypes_are_those_of_the_authors_code():
    steps = len(SAVED["run.losses"])
    method = toy("run.p0", queue=8, frozen_until=1 / steps)
    groups = method.param_groups()
    losses = []
    for i in range(steps):
        clock = Clock(i, steps)
        step = method(toy_batch(SAVED[f"run.x{i}"]), clock)
        method.zero_grad()
        step.total.backward()
        method.after_backward(step, clock)
        with torch.no_grad():
            for group in groups:
                for p in group.params if clock.progress >= group.frozen_until else []:
                    p -= 0.3 * p.grad
        method.after_step(clock)
        losses.append(step.total.detach())
    close = {"rtol": 1e-8, "atol": 1e-12}
    torch.testing.assert_close(torch.stack(losses), SAVED["run.losses"], **close)
    torch.testing.assert_close(method.online.head.weight, SAVED["run.p1.lin.weight"], **close)
    expected = F.normalize(SAVED["run.p1.prototypes.weight"], dim=1)
    torch.testing.assert_close(method.prototypes.weight.detach(), expected, **close)
    newest_first = SAVED["run.queue"]  # [view, row, P], the authors shift
    ours = method.queue.items.unflatten(1, (2, 3))
    ours = ours.roll(-int(method.queue.head), dims=0).view(2, 4, 2, 3).flip(0).flatten(0, 1)
    torch.testing.assert_close(ours.transpose(0, 1), newest_first, **close)


def test_the_queue_counts_only_once_it_is_full_and_only_after_its_start():
    x = SAVED["run.x0"]
    method, alone = toy("run.p0", queue=8), toy("run.p0", queue=0)
    late = SwAVConfig(out=3, prototypes=6, queue=8, queue_from=0.5)
    assert len(x) == 4

    def loss(m):
        return float(m(toy_batch(x), Clock(1, 10)).total.detach())

    method.after_backward(method(toy_batch(SAVED["run.x1"]), Clock(1, 10)), Clock(1, 10))
    assert loss(method) == loss(alone)
    method.after_backward(method(toy_batch(SAVED["run.x2"]), Clock(1, 10)), Clock(1, 10))
    assert loss(method) != loss(alone)
    waiting = toy("run.p0", queue=8)
    waiting.config = late
    waiting.after_backward(waiting(toy_batch(x), Clock(4, 10)), Clock(4, 10))
    assert not waiting.queue.items.any()
    waiting.after_backward(waiting(toy_batch(x), Clock(5, 10)), Clock(5, 10))
    assert waiting.queue.items.any()


def test_old_rows_are_scored_with_the_prototypes_of_now():
    method = toy("run.p0", queue=4)
    method.after_backward(method(toy_batch(SAVED["run.x1"]), Clock(1, 10)), Clock(1, 10))
    with torch.no_grad():
        method.prototypes.weight.copy_(method.prototypes.weight.flip(1))
    step = method(toy_batch(SAVED["run.x0"]), Clock(2, 10))
    z = step.projection
    expected = []
    for view in range(2):
        rows = torch.cat([method.queue.items.unflatten(1, (2, 3))[:, view], z[:, view]])
        expected.append(sinkhorn_by_loops(rows @ method.prototypes.weight.detach().T, 0.05, 3)[4:])
    health = entropies(torch.stack(expected, dim=1))
    for name, value in health.items():
        torch.testing.assert_close(step.watch[name], value, rtol=1e-9, atol=0)


def test_prototypes_are_unit_vectors_before_every_forward():
    prototypes = Prototypes(4, 6)
    torch.testing.assert_close(prototypes.weight.norm(dim=1), torch.ones(6))
    method = toy("run.p0", queue=0)
    with torch.no_grad():
        method.prototypes.weight.mul_(3)
    method.after_step(Clock(0, 1))
    torch.testing.assert_close(
        method.prototypes.weight.norm(dim=1), torch.ones(6, dtype=torch.float64)
    )


def test_scores_keep_full_precision_under_autocast():
    prototypes, x = Prototypes(8, 6), torch.randn(4, 8)
    with torch.autocast("cpu", torch.bfloat16):
        scores = prototypes(x)
    torch.testing.assert_close(scores, x @ prototypes.weight.T, rtol=1e-6, atol=1e-6)


def test_entropies_tell_collapse_from_balance():
    sharp = torch.eye(4)[torch.arange(8) % 4]
    assert {k: round(float(v), 6) for k, v in entropies(sharp).items()} == {
        "target_entropy": 0.0,
        "usage_entropy": 1.0,
    }
    one = torch.eye(4)[torch.zeros(8, dtype=torch.long)]
    assert float(entropies(one)["usage_entropy"]) == pytest.approx(0.0, abs=1e-6)
    even = torch.full((8, 2, 4), 0.25)
    assert float(entropies(even)["target_entropy"]) == pytest.approx(1.0)
    half = torch.tensor([[0.5, 0.5, 0.0, 0.0]])
    expected = math.log(2) / math.log(4)
    assert float(entropies(half)["target_entropy"]) == pytest.approx(expected)
