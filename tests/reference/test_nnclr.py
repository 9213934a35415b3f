"""NNCLR against the paper's algorithm.

There is no public code of the authors. What fails if a bug of public ports is planted:

- projections enter before neighbours are sought: `test_neighbours_come_from_before_the_step`;
- a sample meets what it was an epoch ago: `test_a_sample_is_never_its_own_neighbour`;
- gradient through the neighbour, both views stored: the test of one step.
"""

import math

import torch
from raw import Raw, assert_same, batch_of, gaussian

from manyviews.core import Batch, Clock
from manyviews.losses.contrastive import batch_info_nce, unit
from manyviews.methods.contrastive.nnclr import NNCLR, NNCLRConfig
from tiny import given

CLOCK = Clock(0, 10)


def equation_3(query, key, temperature):
    total = 0.0
    for i, q in enumerate(query):
        below = sum((q @ k / temperature).exp() for k in key)
        total = total - ((q @ key[i] / temperature).exp() / below).log()
    return total / len(query)


def test_batch_info_nce_is_equation_3():
    query, key = gaussian(0, 5, 4), gaussian(1, 5, 4)
    ours = batch_info_nce(query, key, temperature=0.3)
    assert_same(ours, equation_3(query, key, 0.3), (query, key))


def toy(queue=12):
    torch.manual_seed(0)
    config = NNCLRConfig(queue=queue, hidden=6, out=3, predictor=7, temperature=0.2)
    return NNCLR(given(Raw(5)), config).double().train()


def sought(z, support):
    """The stored row of the largest cosine, one query at a time."""
    rows = [max(support, key=lambda row, q=q: float(q @ row / row.norm())) for q in z.detach()]
    return torch.stack(rows)


def test_one_step_is_the_papers_algorithm():
    method = toy()
    a, b = gaussian(0, 4, 5), gaussian(1, 4, 5)
    stored = method.support.queue.items.clone()
    step = method(batch_of(a, b), CLOCK)

    z = [method.online.head(view) for view in (a, b)]
    p = [unit(method.predictor(x)) for x in z]
    z = [x / x.norm(dim=1, keepdim=True) for x in z]
    expected = equation_3(sought(z[0], stored), p[1], 0.2) / 2
    expected = expected + equation_3(sought(z[1], stored), p[0], 0.2) / 2
    assert_same(step.total, expected, (a, b, method.predictor[0].weight))
    torch.testing.assert_close(step.watch["contrastive_floor"], expected.detach() / math.log(4))
    assert torch.equal(method.support.queue.items, stored)

    method.after_backward(step, CLOCK)
    stored[:4] = z[0].detach()
    torch.testing.assert_close(method.support.queue.items, stored)
    assert method.support.owner.tolist() == [0, 1, 2, 3] + [-1] * 8


def test_neighbours_come_from_before_the_step():
    """A queue that had taken in the first view would give it back as its own neighbour."""
    method = toy()
    a = gaussian(0, 4, 5).detach()
    z = method(batch_of(a, a), CLOCK).projection[:, 0].detach()
    found = method.support.nearest(z, torch.arange(4))
    assert ((found - z).norm(dim=1) > 1e-3).all()


def test_a_sample_is_never_its_own_neighbour():
    method = toy()
    a, b = gaussian(0, 4, 5).detach(), gaussian(1, 4, 5).detach()
    first = method(batch_of(a, b), CLOCK)
    method.after_backward(first, CLOCK)  # an epoch ago
    again = method(batch_of(a, b), Clock(1, 10)).projection[:, 0].detach()
    own = method.support.nearest(again, torch.arange(4))
    other = method.support.nearest(again, torch.arange(4, 8))
    torch.testing.assert_close(other, again)
    assert ((own - again).norm(dim=1) > 1e-3).all()


def test_the_owner_of_a_row_wraps_around_with_it():
    method = toy(queue=6)
    for start in (0, 4, 8):
        views = torch.stack([gaussian(start + i, 4, 5).detach() for i in (0, 1)], dim=1)
        batch = Batch({"global": views}, torch.arange(start, start + 4))
        step = method(batch, CLOCK)
        method.after_backward(step, CLOCK)
    assert method.support.owner.tolist() == [6, 7, 8, 9, 10, 11]
    torch.testing.assert_close(method.support.queue.items[2:], step.fresh["rows"])
