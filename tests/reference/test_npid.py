"""NPID against numbers of the authors' code (data/README.md) and the paper's formulas.

What fails if a bug is planted: the bank written in the forward pass, or before the scores, the
partition estimated anew or times N, the mean over negatives: the authors' three steps; the
proximal distance left unsquared or from the new row: `test_the_proximal_term_is_the_papers`.
"""

import pytest
import torch
from raw import Raw, gaussian, load

from manyviews.core import Batch, Clock, Given
from manyviews.losses.contrastive import unit
from manyviews.losses.nce import even
from manyviews.methods.contrastive.npid import NPID, NPIDConfig

SAVED = load("npid")


def made(samples=11, **settings):
    torch.manual_seed(0)
    config = NPIDConfig(**{"negatives": 6, "out": 4, "temperature": 0.5, **settings})
    return NPID(Given({"image": Raw(5)}, samples), config).double()


def batch_of(images, index=None):
    index = torch.arange(len(images)) if index is None else index
    return Batch({"global": images[:, None]}, index)


def test_three_steps_are_those_of_the_authors_classes(monkeypatch):
    """Their epsilon of 1e-7 is not ours: of a prior of K/N = 6/11 it is a share of 2e-7."""
    method, close = made(), {"rtol": 5e-6, "atol": 1e-7}
    method.bank.items.copy_(SAVED["bank_start"])
    method.head.load_state_dict({f"0.{k}": SAVED[f"start.{k}"] for k in ("weight", "bias")})
    optimizer = torch.optim.SGD(method.head.parameters(), lr=float(SAVED["lr"]))
    for s in range(3):
        drawn = SAVED[f"drawn_{s}"]
        monkeypatch.setattr(method.bank, "negatives", lambda index, d=drawn, **_: d)
        clock = Clock(s, 3)
        step = method(batch_of(SAVED[f"images_{s}"], SAVED[f"index_{s}"]), clock)
        torch.testing.assert_close(step.total.detach(), SAVED[f"loss_{s}"], **close)
        optimizer.zero_grad()
        step.total.backward()
        for k in ("weight", "bias"):
            gradient = getattr(method.head[0], k).grad
            torch.testing.assert_close(gradient, SAVED[f"gradient_{s}.{k}"], **close)
        method.after_backward(step, clock)
        optimizer.step()
        method.after_step(clock)
        torch.testing.assert_close(method.bank.items, SAVED[f"bank_{s}"], **close)
        torch.testing.assert_close(method.partition.value * 11, SAVED[f"z_{s}"], **close)
    for k in ("weight", "bias"):
        torch.testing.assert_close(getattr(method.head[0], k).detach(), SAVED[f"end.{k}"], **close)


def test_the_proximal_term_is_the_papers():
    """Section 3.3: lambda times the squared distance of v from the row of the last iteration."""
    images = gaussian(0, 4, 5).detach()
    method = made(proximal=3.0)
    losses = method(batch_of(images), Clock(0, 10)).losses
    v, rows = unit(method.head(images)), method.bank.items[:4]
    distances = [
        sum((a - b) ** 2 for a, b in zip(*pair, strict=True)) for pair in zip(v, rows, strict=True)
    ]
    torch.testing.assert_close(losses["proximal"], 3.0 * sum(distances) / 4)
    assert set(made()(batch_of(images), Clock(0, 10)).losses) == {"nce"}


@pytest.mark.parametrize("kind", ["nce", "info_nce"])
def test_equal_scores_are_the_floor(kind):
    method = made(loss=kind, hidden=3)
    with torch.no_grad():
        for p in method.head.parameters():
            p.zero_()
    step = method(batch_of(gaussian(0, 4, 5).detach()), Clock(5, 10, epoch=2))
    torch.testing.assert_close(step.total.item(), even(kind, 6))
    torch.testing.assert_close(step.watch["contrastive_floor"].item(), 1.0)


def test_info_nce_is_the_softmax_of_the_own_row():
    method = made(loss="info_nce")
    images = gaussian(0, 4, 5).detach()
    loss = method(batch_of(images), Clock(2, 10)).total
    drawn = method.bank.negatives(torch.arange(4), count=6, step=2, own=True)
    total = 0.0
    for i, v in enumerate(unit(method.head(images))):
        above = (v @ method.bank.items[i] / 0.5).exp()
        below = above + sum((v @ method.bank.items[j] / 0.5).exp() for j in drawn[i])
        total = total - (above / below).log() / 4
    torch.testing.assert_close(loss, total)
