"""SeLa-v2 against the formulas of SwAV's appendix D; its training code is not public.

Labels come from `transported`, which tests/reference/test_sela.py holds against SeLa's code.

What fails if a bug is planted: labels of another head or of the wrong bank, probabilities without
the temperature, prototypes left off the sphere or without gradient, local views left out: here.
"""

import pytest
import torch
from raw import Raw, assert_same, gaussian
from torch import nn

from manyviews.core import Batch, Clock, Given
from manyviews.losses.contrastive import unit
from manyviews.methods.clustering import sela_v2 as module
from manyviews.methods.clustering.sela_v2 import SeLaV2, SeLaV2Config
from manyviews.parts.cluster import UNASSIGNED

SAMPLES, HEADS = 12, (4, 3, 4)
CLOCK = Clock(0, 10)


def made(**settings):
    torch.manual_seed(0)
    config = SeLaV2Config(**{"hidden": 4, "out": 5, "prototypes": HEADS, **settings})
    method = SeLaV2(Given({"image": Raw(6)}, SAMPLES), config).double()
    method.online.head = nn.Linear(6, 5).double()
    return method


def rows(seed):
    return unit(gaussian(seed, SAMPLES, 5).detach())


def never(*_, **__):
    raise AssertionError("the banks are full: nothing is to be embedded")


def test_the_loss_is_equation_8_of_every_view_and_head():
    method, x = made(), gaussian(1, 4, 5, 6)
    labels = torch.tensor([[0, 3, 1, 2], [2, 0, 1, 1], [3, 3, UNASSIGNED, 0]])
    method.classes.items[:, :4] = labels
    batch = Batch({"global": x[:, :2], "local": x[:, 2:]}, torch.arange(4))
    step = method(batch, CLOCK)
    z, heads = unit(method.online.head(x)), []
    for head, own in zip(method.heads, labels.tolist(), strict=True):
        lost = [
            -(z[i, v] @ head.weight.T / 0.1).log_softmax(dim=0)[label]
            for i, label in enumerate(own)
            if label != UNASSIGNED
            for v in range(5)
        ]
        heads.append(torch.stack(lost).mean())
    inputs = (x, *method.heads.parameters())
    assert_same(step.total, torch.stack(heads).mean(), inputs, rtol=1e-9, atol=1e-12)


def balanced(p, sharpness):
    """Rows and columns scaled in turn until they are right; the greatest entry of each row."""
    q = p**sharpness
    for _ in range(5000):
        q = q / (q.sum(dim=0, keepdim=True) * q.shape[1])
        q = q / (q.sum(dim=1, keepdim=True) * len(q))
    return q.argmax(dim=1)


@pytest.mark.parametrize("sharpness", [2.0, 10.0])
def test_labels_are_transport_of_what_each_head_predicts_of_its_bank(sharpness):
    method = made(sharpness=sharpness, tolerance=1e-9)
    method.classes.items.fill_(0)  # not the first time
    method.one.items.copy_(rows(3))
    method.two.items.copy_(rows(4))
    method.before_epoch(CLOCK, never)
    for head, bank, labels in zip(
        method.heads, (rows(3), rows(4), rows(3)), method.classes.items, strict=True
    ):
        p = (bank @ head.weight.T / 0.1).softmax(dim=1).detach()
        assert torch.equal(labels, balanced(p, sharpness))
    assert not torch.equal(method.classes.items[0], method.classes.items[2])


def test_the_banks_are_first_filled_by_plain_views_and_then_by_steps():
    method, views = made(), gaussian(5, SAMPLES, 6).detach()

    def embed_all(f):
        out = f({"image": views})
        out[7] = torch.nan  # a file that cannot be read
        return out.float()

    method.before_epoch(CLOCK, embed_all)
    found = unit(method.online.head(views)).detach()
    known = torch.arange(SAMPLES) != 7
    for bank in (method.one, method.two):
        torch.testing.assert_close(bank.items[known], found[known], rtol=1e-6, atol=1e-6)
    assert (method.classes.items[:, 7] == UNASSIGNED).all()
    assert (method.classes.items[:, known] != UNASSIGNED).all()
    x = gaussian(6, 3, 4, 6).detach()
    step = method(Batch({"global": x[:, :2], "local": x[:, 2:]}, torch.tensor([7, 0, 5])), CLOCK)
    method.after_backward(step, CLOCK)
    method.after_step(CLOCK)
    z = unit(method.online.head(x)).detach()
    for v, bank in enumerate((method.one, method.two)):
        torch.testing.assert_close(bank.items[[7, 0, 5]], z[:, v])
    method.before_epoch(CLOCK, never)
    assert (method.classes.items != UNASSIGNED).all()


def test_prototypes_are_learnt_on_the_sphere_and_stay_at_first_where_that_is_asked():
    method = made(frozen_until=0.25)
    assert [group.frozen_until for group in method.param_groups()] == [0.0, 0.25]
    with torch.no_grad():
        for head in method.heads:
            head.weight.mul_(3.0)
    method.after_step(CLOCK)
    for head in method.heads:
        torch.testing.assert_close(head.weight.norm(dim=1), torch.ones_like(head.weight[:, 0]))


def test_images_are_assigned_by_the_softmax_of_the_first_head():
    method, x = made(), gaussian(7, 3, 6).detach()
    z = unit(method.online.head(x))
    expected = (z @ method.heads[0].weight.T / 0.1).softmax(dim=1)
    torch.testing.assert_close(method.assign(x), expected)


def test_banks_are_filled_in_evaluation_mode():
    method, x = made(), gaussian(7, 3, 6).detach()
    method.online.head = nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 5)).double().train()
    one, alone = method._embed({"image": x}), method._embed({"image": x[:1]})
    torch.testing.assert_close(one[:1], alone)
    assert method.online.head.training


def test_transport_is_asked_for_with_the_settings(monkeypatch):
    asked = []

    def transported(p, *, sharpness, tolerance, setting):
        asked.append((p.dtype, sharpness, tolerance, setting))
        return p.argmax(dim=1)

    monkeypatch.setattr(module, "transported", transported)
    method = made(sharpness=3.0, tolerance=0.01)
    method.classes.items.fill_(0)
    method.before_epoch(CLOCK, never)
    assert asked == [(torch.float64, 3.0, 0.01, "prototypes")] * len(HEADS)
