import copy

import pytest
import torch
from torch import nn

from manyviews.core import Batch, Clock, Given, Method, Step
from manyviews.core.schedules import Cosine
from manyviews.diagnosis.wiring import check
from manyviews.parts.bank import Bank
from manyviews.parts.targets import EMA

CLOCK = Clock(0, 10)


class Pupil(Method):
    """A small student and teacher with batch norm and dropout."""

    def __init__(self):
        super().__init__(Given({}))
        torch.manual_seed(0)
        self.online = nn.Sequential(
            nn.Flatten(), nn.Linear(12, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 4)
        )
        self.target = EMA(self.online, Cosine(0.9, 1.0))
        self.factor = 1.0

    def forward(self, batch, clock):
        x = batch.views["global"]
        z, t = self.online(x[:, 0]), self.target(x[:, 1])
        loss = (z - t).square().mean() * self.factor
        return Step({"loss": loss}, {"image": z.detach()[:, None]})


def batch(seed=0, n=8):
    g = torch.Generator().manual_seed(seed)
    return Batch({"global": torch.randn(n, 2, 3, 2, 2, generator=g)}, torch.arange(n))


def names(method, given=None):
    return [alarm.name for alarm in check(method, given or batch(), CLOCK)]


def test_a_sound_method_on_sound_views_raises_nothing():
    assert names(Pupil()) == []


def test_a_target_that_is_the_student_is_found():
    method = Pupil()
    method.target.copy = method.online
    assert names(method) == ["trained_target", "shared_target"]
    method.online.requires_grad_(False)
    assert names(method)[0] == "shared_target"


def test_a_target_that_shares_one_tensor_with_the_student_is_found():
    method = Pupil()
    method.target.copy[1].weight.data = method.online[1].weight.data
    [alarm] = check(method, batch(), CLOCK)
    assert alarm.name == "shared_target"
    assert "online.1.weight" in alarm.message
    assert alarm.light == "bad"


def test_a_target_that_would_be_trained_is_found():
    method = Pupil()
    method.target.copy[1].weight.requires_grad_()
    assert names(method) == ["trained_target", "no_gradient"]


def test_a_parameter_without_gradient_is_found_and_named():
    method = Pupil()
    method.forgotten = nn.Linear(2, 2)
    [alarm] = check(method, batch(), CLOCK)
    assert alarm.name == "no_gradient"
    assert "'forgotten.weight' and 1 more" in alarm.message
    assert alarm.light == "warn"


def test_a_detached_loss_is_found():
    method = Pupil()
    forward = Pupil.forward

    class Detached(Pupil):
        def forward(self, batch, clock):
            step = forward(self, batch, clock)
            return Step({"loss": step.losses["loss"].detach()}, step.embedding)

    [alarm] = check(Detached(), batch(), CLOCK)
    assert (alarm.name, alarm.light) == ("no_gradient", "bad")
    assert names(method) == []


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_found(factor):
    method = Pupil()
    method.factor = factor
    assert names(method) == ["loss_not_finite"]


def test_identical_views_are_found():
    views = batch().views["global"]
    same = views[:, :1].expand(-1, 2, -1, -1, -1)
    assert names(Pupil(), Batch({"global": same}, torch.arange(8))) == ["identical_views"]
    nearly = torch.cat([same[:7], views[7:]])
    assert names(Pupil(), Batch({"global": nearly}, torch.arange(8))) == []


def test_blank_views_are_found():
    views = torch.ones(8, 2, 3, 2, 2)
    views[:3] = batch().views["global"][:3]
    assert names(Pupil(), Batch({"global": views}, torch.arange(8))) == ["blank_views"]


@pytest.mark.parametrize("mode", [True, False])
def test_checking_changes_nothing(mode):
    method, given = Pupil().train(mode), batch()
    method(given, CLOCK).total.backward()
    state = copy.deepcopy(method.state_dict())
    grads = [None if p.grad is None else p.grad.clone() for p in method.parameters()]
    random = torch.get_rng_state()
    with torch.no_grad():
        check(method, given, CLOCK)
    assert all(torch.equal(v, method.state_dict()[k]) for k, v in state.items())
    for p, grad in zip(method.parameters(), grads, strict=True):
        assert (p.grad is None and grad is None) or torch.equal(p.grad, grad)
    assert torch.equal(random, torch.get_rng_state())
    assert method.training is mode


def test_a_bank_is_read_where_it_lies(monkeypatch):
    method, seen = Pupil(), []
    method.bank = Bank(1000, 4, momentum=0.5)
    forward = Pupil.forward

    def looking(self, batch, clock):
        seen.append((self is method, self.bank.items.data_ptr(), self.online[1].weight.data_ptr()))
        return forward(self, batch, clock)

    monkeypatch.setattr(Pupil, "forward", looking)
    before = method.bank.items.clone()
    assert names(method) == []
    [(same, bank, weight)] = seen
    assert not same
    assert bank == method.bank.items.data_ptr()
    assert weight != method.online[1].weight.data_ptr()
    assert torch.equal(method.bank.items, before)


def test_one_view_of_patches_is_enough():
    class One(Pupil):
        def forward(self, batch, clock):
            z = self.online(batch.views["global"][:, 0])
            return Step({"loss": z.square().mean()}, {"image": z.detach()[:, None]})

    given = Batch({"global": torch.randn(8, 1, 3, 2, 2)}, torch.arange(8))
    assert names(One(), given) == []
