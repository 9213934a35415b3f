"""CMC against numbers of the authors' code (data/README.md), and of more than two views.

What fails if a bug is planted: a query compared with its own bank, one partition for both pairs, a
mean where the authors have a sum, the bank written before the scores: the authors' three steps;
the core left out of the pairs or compared one way: `test_a_core_is_compared_with_all_others`.
"""

import pytest
import torch
from raw import Raw, gaussian, load

from manyviews.core import Batch, Clock, Features, Given, UsageError
from manyviews.losses.contrastive import unit
from manyviews.losses.nce import even
from manyviews.methods.contrastive.cmc import CMC, CMCConfig

SAVED = load("cmc")
PARTS = {"L": slice(0, 2), "ab": slice(2, 5)}


class Seen(Raw):
    """Passes a part of a vector through."""

    def __init__(self, part):
        super().__init__(part.stop - part.start)
        self.part = part

    def forward(self, x, **_):
        return Features(x[:, self.part], x[:, None, self.part])


def made(parts=PARTS, **settings):
    torch.manual_seed(0)
    config = CMCConfig(**{"negatives": 6, "out": 4, "temperature": 0.5, **settings})
    return CMC(Given({k: Seen(v) for k, v in parts.items()}, 11), config).double()


def batch_of(x, index=None):
    return Batch({"global": x[:, None]}, torch.arange(len(x)) if index is None else index)


def ours(prefix):
    """The authors' tensors that begin with a prefix, under our names."""
    found = {k.removeprefix(prefix): v for k, v in SAVED.items() if k.startswith(prefix)}
    return {f"branches.{k.replace('.', '.head.0.')}": v for k, v in found.items()}


@pytest.mark.parametrize("loss", ["nce", "info_nce"])
def test_three_steps_are_those_of_the_authors_classes(loss, monkeypatch):
    """Their epsilon of 1e-7 is not ours: of a prior of K/N = 6/11 it is a share of 2e-7."""
    method, close = made(loss=loss), {"rtol": 5e-6, "atol": 1e-7}
    method.load_state_dict(ours(f"{loss}.start."), strict=False)
    for name in PARTS:
        method.banks[name].items.copy_(SAVED[f"{loss}.bank_start.{name}"])
    optimizer = torch.optim.SGD([p for g in method.param_groups() for p in g.params], lr=0.5)
    for s in range(3):
        drawn = SAVED[f"{loss}.drawn_{s}"]
        monkeypatch.setattr(method.banks["L"], "negatives", lambda _, d=drawn, **__: d)
        clock = Clock(s, 3)
        step = method(batch_of(SAVED[f"{loss}.x_{s}"], SAVED[f"{loss}.index_{s}"]), clock)
        assert list(step.losses) == ["L-ab", "ab-L"]
        losses = torch.stack(list(step.losses.values())).detach()
        torch.testing.assert_close(losses, SAVED[f"{loss}.loss_{s}"], **close)
        optimizer.zero_grad()
        step.total.backward()
        gradients = {k: p.grad for k, p in method.named_parameters() if p.grad is not None}
        torch.testing.assert_close(gradients, ours(f"{loss}.gradient_{s}."), **close)
        method.after_backward(step, clock)
        optimizer.step()
        method.after_step(clock)
        for name in PARTS:
            expected = SAVED[f"{loss}.bank_{s}.{name}"]
            torch.testing.assert_close(method.banks[name].items, expected, **close)
        if loss == "nce":  # their Z is N times ours
            kept = torch.stack([method.partitions[p].value for p in ("L-ab", "ab-L")])
            torch.testing.assert_close(11 * kept, SAVED[f"nce.z_{s}"], **close)
    end = ours(f"{loss}.end.")
    torch.testing.assert_close({k: method.state_dict()[k] for k in end}, end, **close)


THREE = {"L": slice(0, 2), "a": slice(2, 3), "b": slice(3, 5)}


def by_hand(method, x, drawn, query, bank):
    """-log softmax of the own row among it and the drawn ones, sample by sample."""
    z = unit(method.branches[query](x)[1])
    items, total = method.banks[bank].items, 0.0
    for i, row in enumerate(drawn.tolist()):
        scores = torch.stack([z[i] @ items[n] / 0.5 for n in [i, *row]])
        total = total - scores.log_softmax(dim=0)[0]
    return total / len(x)


@pytest.mark.parametrize("core", ["", "a"])
def test_the_losses_of_three_views_are_the_papers(core):
    """Equations 8 (core view) and 9 (full graph): both directions of each pair, added."""
    method, x = made(THREE, loss="info_nce", core=core), gaussian(0, 4, 5).detach()
    step = method(batch_of(x), Clock(2, 10))
    drawn = method.banks["L"].negatives(torch.arange(4), count=6, step=2, own=True)
    pairs = [(q, b) for q in THREE for b in THREE if q != b and (not core or core in (q, b))]
    expected = {f"{q}-{b}": by_hand(method, x, drawn, q, b) for q, b in pairs}
    torch.testing.assert_close(dict(step.losses), expected)
    total = torch.stack(list(expected.values())).sum()
    torch.testing.assert_close(step.total, total)
    parameters = [p for p in method.parameters() if p.requires_grad and p.ndim]
    found = torch.autograd.grad(step.total, parameters)
    torch.testing.assert_close(found, torch.autograd.grad(total, parameters))


def test_a_core_is_compared_with_all_others():
    assert set(made(THREE).pairs) == {"L-a", "L-b", "a-L", "a-b", "b-L", "b-a"}
    assert set(made(THREE, core="L").pairs) == {"L-a", "L-b", "a-L", "b-L"}


def test_each_bank_takes_in_what_its_own_encoder_saw():
    method = made(THREE)
    before = {name: method.banks[name].items.clone() for name in THREE}
    step = method(batch_of(gaussian(1, 4, 5).detach()), Clock(0, 10))
    method.after_backward(step, Clock(0, 10))
    for name in THREE:  # other micro-batches are still to read them
        assert torch.equal(method.banks[name].items, before[name])
    method.after_step(Clock(0, 10))
    for i, name in enumerate(THREE):
        expected = unit(before[name][:4] + step.projection[:, i].detach())
        torch.testing.assert_close(method.banks[name].items[:4], expected)
        assert torch.equal(method.banks[name].items[4:], before[name][4:])


@pytest.mark.parametrize("loss", ["nce", "info_nce"])
def test_the_floor_is_one_where_all_scores_are_equal(loss):
    method = made(loss=loss)
    for name in PARTS:
        method.banks[name].items.copy_(torch.zeros(11, 4))
    step = method(batch_of(gaussian(1, 4, 5).detach()), Clock(5, 10, epoch=2))
    assert step.watch["contrastive_floor"].item() == pytest.approx(1)
    assert step.losses["L-ab"].item() == pytest.approx(even(loss, 6))


def test_one_encoder_or_a_core_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match=r"trains the encoders L and ab; it was given image\."):
        made({"image": slice(0, 2)})
    with pytest.raises(UsageError, match=r"no encoder 'c' to be the core; there are L, ab\. Set"):
        made(core="c")
