"""Cubic puzzles against the formula: which of all orders of four, by either kind of piece."""

from itertools import permutations

import pytest
import torch
from raw import Raw, assert_same, gaussian

from manyviews.core import Batch, Clock
from manyviews.methods.pretext.cubic_puzzle import CubicPuzzle, CubicPuzzleConfig
from tiny import given

ORDERS = list(permutations(range(4)))


def batch_of(space, time, drawn):
    cues = {"space.order": drawn[0], "time.order": drawn[1]}
    return Batch({"space": space, "time": time}, torch.arange(len(space)), cues)


def orders(seed, size):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(2, size, 4, generator=g).argsort(dim=2)


@pytest.mark.parametrize("shared", [False, True])
def test_the_loss_and_its_gradient_are_the_formula(shared):
    torch.manual_seed(0)
    config = CubicPuzzleConfig(hidden=5, shared=shared)
    method = CubicPuzzle(given(Raw(3)), config).double()
    assert len(method.heads) == 2 - shared
    views, drawn = [gaussian(k, 6, 4, 3) for k in range(2)], orders(1, 6)
    linear = method.part_head[0]
    total = 0.0
    for k, (pieces, order) in enumerate(zip(views, drawn.tolist(), strict=True)):
        head = method.heads[0 if shared else k]
        for b in range(6):
            seen = [(linear.weight @ piece + linear.bias).relu() for piece in pieces[b]]
            scores = head.weight @ torch.cat(seen) + head.bias
            label = ORDERS.index(tuple(order[b]))
            total = total - (scores[label] - scores.logsumexp(0)) / 6 / 2
    step = method(batch_of(*views, drawn), Clock(0, 1))
    inputs = [*views, linear.weight, method.heads[-1].weight]
    assert_same(step.total, total, inputs, rtol=1e-9, atol=1e-12)


def test_pieces_that_are_alike_tell_nothing():
    method, x = CubicPuzzle(given(Raw(3)), CubicPuzzleConfig()).double(), gaussian(0, 24, 1, 3)
    drawn = torch.tensor(ORDERS).expand(2, -1, -1)
    alike = x[:1].expand(24, 4, 3)
    chance = torch.tensor(24.0).log().double()
    assert method(batch_of(alike, alike, drawn), Clock(0, 1)).total >= chance - 1e-9
