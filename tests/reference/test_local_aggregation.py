"""Local aggregation against numbers of the authors' code (data/README.md) and the paper's formulas.

What fails if a bug is planted: close only where all clusterings agree, close ones outside of the
background, the bank written before it is read, a constant that stays in the ratio: the authors'
four steps; a clustering used twice: `test_clusterings_are_of_the_bank_and_differ`.
"""

import math

import pytest
import torch
from raw import Raw, gaussian, load

from manyviews.core import Batch, Clock, Given, UsageError
from manyviews.losses.clustering import aggregation
from manyviews.losses.contrastive import unit
from manyviews.methods.clustering.local_aggregation import LocalAggregation, LocalAggregationConfig
from manyviews.parts.cluster import UNASSIGNED

SAVED = load("local_aggregation")
CONSTANT = 2876934.2 / 1281167
"""Their Z over N."""


def made(samples=40, **settings):
    torch.manual_seed(0)
    given = {"clusters": (9, 7, 30), "background": 12, "negatives": 12, "out": 5}
    config = LocalAggregationConfig(**{**given, "temperature": 0.5, **settings})
    return LocalAggregation(Given({"image": Raw(4)}, samples), config).double()


def batch_of(x, index):
    return Batch({"global": x[:, None]}, index)


def test_two_steps_of_each_phase_are_those_of_the_authors_class(monkeypatch):
    """Their epsilon of 1e-7 beside a prior of K/N = 12/40 is a share of 3e-7."""
    method, close = made(), {"rtol": 5e-6, "atol": 1e-7}
    method.head.load_state_dict({f"0.{k}": SAVED[f"start.{k}"] for k in ("weight", "bias")})
    method.bank.items.copy_(SAVED["bank_start"])
    method.partition.value.fill_(CONSTANT)
    optimizer = torch.optim.SGD(method.head.parameters(), lr=0.5)
    for s in range(4):
        if s == 2:
            method.clusters.items.copy_(SAVED["labels"])
        noise, clock = SAVED[f"noise_{s}"], Clock(s, 4)
        monkeypatch.setattr(method.bank, "negatives", lambda *_, d=noise, **__: d)
        step = method(batch_of(SAVED[f"x_{s}"], SAVED[f"index_{s}"]), clock)
        assert list(step.losses) == (["nce"] if s < 2 else ["aggregation"])
        torch.testing.assert_close(step.total.detach(), SAVED[f"loss_{s}"], **close)
        optimizer.zero_grad()
        step.total.backward()
        for name, p in method.head[0].named_parameters():
            torch.testing.assert_close(p.grad, SAVED[f"gradient_{s}.{name}"], **close)
        method.after_backward(step, clock)
        optimizer.step()
        method.after_step(clock)
        torch.testing.assert_close(method.bank.items, SAVED[f"bank_{s}"], **close)
    for name, p in method.head[0].named_parameters():
        torch.testing.assert_close(p.detach(), SAVED[f"end.{name}"], **close)


def test_the_loss_is_the_papers_formula():
    method, x, index = made(), gaussian(0, 3, 4), torch.tensor([5, 0, 21])
    method.clusters.items.copy_(SAVED["labels"])
    step = method(batch_of(x, index), Clock(9, 10))
    z, bank, total = unit(method.head(x)), method.bank.items, 0.0
    for i, own in enumerate(index.tolist()):
        nearest = sorted(range(40), key=lambda n, i=i: -float(z[i].detach() @ bank[n]))[:12]
        close = [n for n in nearest if any(c[n] == c[own] for c in SAVED["labels"])]
        both = [sum((z[i] @ bank[n] / 0.5).exp() for n in rows) for rows in (close, nearest)]
        total = total - (both[0] / both[1] + 1e-7).log() / 3
    torch.testing.assert_close(step.total, total)
    (mine,), (theirs,) = (torch.autograd.grad(loss, x) for loss in (step.total, total))
    torch.testing.assert_close(mine, theirs)


def test_a_sample_without_close_neighbours_costs_the_floor_and_moves_nothing():
    s = gaussian(1, 2, 6)
    close = torch.zeros(2, 6, dtype=torch.bool)
    close[1, 2] = True
    loss = aggregation(s, close)
    expected = (-math.log(1e-7) - (s[1].softmax(0)[2] + 1e-7).log().item()) / 2
    assert loss.item() == pytest.approx(expected)
    (gradient,) = torch.autograd.grad(loss, s)
    assert not gradient[0].any()
    assert gradient[1].any()


def never(*_, **__):
    raise AssertionError("the bank is clustered: nothing is to be embedded")


def test_clusterings_are_of_the_bank_and_differ_and_begin_in_their_time():
    method = made(clusters=(5, 5), clusters_from=0.5)
    method.before_epoch(Clock(4, 10, 4, 10), never)
    assert method.clusters.items.eq(UNASSIGNED).all()
    method.before_epoch(Clock(5, 10, 5, 10), never)
    one, two = method.clusters.items
    assert not torch.equal(one, two)
    for labels in (one, two):
        centroids = torch.stack([unit(method.bank.items[labels == c].mean(0)) for c in range(5)])
        agree = (method.bank.items @ centroids.T).argmax(dim=1) == labels
        assert agree.double().mean() > 0.9  # k-means has settled


def test_a_bank_smaller_than_the_background_is_background_as_a_whole():
    method = made(samples=8, clusters=(2,), background=12)
    z = unit(gaussian(2, 3, 5).detach())
    assert method.near(z).sort(dim=1).values.tolist() == [list(range(8))] * 3


def test_more_clusters_than_samples_are_refused_in_one_line():
    with pytest.raises(UsageError, match=r"9 clusters need .* there are 8\. Lower --method.clust"):
        made(samples=8).before_epoch(Clock(5, 10, 5, 10), never)


def test_the_constant_is_the_first_scores_mean_for_ever():
    method, index = made(), torch.tensor([5, 0, 21])
    for s in range(2):
        x = gaussian(s, 3, 4).detach()
        z, bank = unit(method.head(x)).detach(), method.bank.items.clone()
        clock = Clock(s, 10)
        drawn = method.bank.negatives(index, count=12, step=s, own=True)
        rows = torch.cat([index[:, None], drawn], dim=1)
        if s == 0:
            expected = ((bank[rows] @ z[:, :, None]) / 0.5).exp().mean()
        step = method(batch_of(x, index), clock)
        method.after_backward(step, clock)
        torch.testing.assert_close(method.partition.value, expected)
        assert torch.equal(method.bank.items, bank)  # other micro-batches are still to read it
        method.after_step(clock)
        assert not torch.equal(method.bank.items[index], bank[index])
