import math

import pytest
import torch
from torch import nn

from manyviews.core import Clock, Failure, Given, Group, Method, UsageError
from manyviews.training.optim import build, clip_each
from manyviews.training.settings import Optim


class Two(Method):
    """A matrix and a vector, and a head with its own rules."""

    def __init__(self, **head):
        super().__init__(Given({}))
        torch.manual_seed(1)
        self.body = nn.Linear(3, 2)
        self.head = nn.Linear(2, 2)
        self.rules = head

    def param_groups(self):
        return [
            Group(list(self.body.parameters())),
            Group(list(self.head.parameters()), **self.rules),
        ]


def by_name(updates, method):
    names = {id(p): n for n, p in method.named_parameters()}
    return {names[id(p)]: g for g in updates.optimizer.param_groups for p in g["params"]}


def test_the_learning_rate_is_scaled_by_the_batch_and_follows_warm_up_and_cosine():
    optim = Optim(lr=0.2, lr_per=256, warmup=0.1, lr_end=0.01, lr_start=0.05)
    updates = build(Two(), optim, batch_size=1024)
    peak = 0.2 * 4
    rates = {s: updates.set_rates(Clock(s, 100)).lr for s in (0, 5, 10, 55, 100)}
    assert rates[0] == pytest.approx(0.05 * peak)
    assert rates[5] == pytest.approx((0.05 + 0.95 * 0.5) * peak)
    assert rates[10] == pytest.approx(peak)
    assert rates[55] == pytest.approx((0.01 + 0.99 * (1 + math.cos(math.pi / 2)) / 2) * peak)
    assert rates[100] == pytest.approx(0.01 * peak)
    assert all(g["lr"] == rates[100] for g in updates.optimizer.param_groups)


def test_without_lr_per_the_learning_rate_is_taken_as_it_is():
    updates = build(Two(), Optim(lr=0.2, lr_per=0), batch_size=1024)
    assert updates.set_rates(Clock(0, 100)).lr == 0.2


def test_by_epoch_the_learning_rate_waits_for_the_epoch():
    updates = build(Two(), Optim(lr=1.0, lr_per=0, by_epoch=True), batch_size=1)
    first = updates.set_rates(Clock(0, 100, epoch=0, epochs=10)).lr
    assert updates.set_rates(Clock(9, 100, epoch=0, epochs=10)).lr == first
    assert updates.set_rates(Clock(10, 100, epoch=1, epochs=10)).lr < first


def test_groups_scale_and_hold_their_learning_rate():
    method = Two(lr_scale=10.0, fixed_lr=True)
    updates = build(method, Optim(lr=0.1, lr_per=0, warmup=0.5), batch_size=1)
    updates.set_rates(Clock(25, 100))
    groups = by_name(updates, method)
    assert groups["body.weight"]["lr"] == pytest.approx(0.05)
    assert groups["head.weight"]["lr"] == groups["head.bias"]["lr"] == 1.0


@pytest.mark.parametrize("name", ["sgd", "lars", "larc", "adamw"])
def test_decay_spares_vectors_and_groups_without_decay(name):
    method = Two(decay=False)
    updates = build(method, Optim(name=name, weight_decay=0.3), batch_size=256)
    assert updates.set_rates(Clock(0, 10)).weight_decay == 0.3
    decays = {n: g["weight_decay"] for n, g in by_name(updates, method).items()}
    assert decays == {"body.weight": 0.3, "body.bias": 0, "head.weight": 0, "head.bias": 0}


def test_decay_all_decays_vectors_too_but_no_group_that_refuses():
    method = Two(decay=False)
    updates = build(method, Optim(weight_decay=0.3, decay_all=True), batch_size=256)
    updates.set_rates(Clock(0, 10))
    decays = {n: g["weight_decay"] for n, g in by_name(updates, method).items()}
    assert decays == {"body.weight": 0.3, "body.bias": 0.3, "head.weight": 0, "head.bias": 0}


def test_weight_decay_moves_by_a_cosine():
    updates = build(Two(), Optim(weight_decay=0.04, weight_decay_end=0.4), batch_size=256)
    decays = [updates.set_rates(Clock(s, 100)).weight_decay for s in (0, 50, 100)]
    assert decays == pytest.approx([0.04, 0.22, 0.4])


def test_barlows_vectors_have_a_learning_rate_of_their_own():
    method = Two()
    optim = Optim(name="lars", lr=0.2, lr_1d=0.0048, lr_per=256)
    updates = build(method, optim, batch_size=512)
    updates.set_rates(Clock(0, 10))
    groups = by_name(updates, method)
    assert groups["body.weight"]["lr"] == pytest.approx(0.4)
    assert groups["body.bias"]["lr"] == pytest.approx(0.0096)


def test_a_learning_rate_for_vectors_is_refused_where_it_means_nothing():
    with pytest.raises(UsageError, match=r"lr_1d 0\.1 is only for lars"):
        build(Two(), Optim(name="sgd", lr_1d=0.1), batch_size=1)


def by_hand(name, method, optim, steps):
    """A plain loop over tensors: SGD with momentum and AdamW from their papers."""
    state = {}
    for grads in steps:
        for (n, w), g in zip(method.items(), grads, strict=True):
            decay = optim.weight_decay if w.ndim > 1 else 0.0
            s = state.setdefault(n, {"m": torch.zeros_like(w), "v": torch.zeros_like(w), "t": 0})
            s["t"] += 1
            if name == "sgd":
                s["m"] = optim.momentum * s["m"] + g + decay * w
                w = w - optim.lr * s["m"]
            else:
                one, two = optim.betas
                w = w - optim.lr * decay * w
                s["m"] = one * s["m"] + (1 - one) * g
                s["v"] = two * s["v"] + (1 - two) * g * g
                mean, var = s["m"] / (1 - one ** s["t"]), s["v"] / (1 - two ** s["t"])
                w = w - optim.lr * mean / (var.sqrt() + 1e-8)
            method[n] = w
    return method


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_several_steps_equal_the_formula(name):
    method = Two().double()
    optim = Optim(name=name, lr=0.1, lr_per=0, lr_end=1.0, weight_decay=0.2)
    updates = build(method, optim, batch_size=1)
    start = {n: p.detach().clone() for n, p in method.named_parameters()}
    steps = [[torch.randn_like(p) for p in method.parameters()] for _ in range(4)]
    for i, grads in enumerate(steps):
        updates.set_rates(Clock(i, 4))
        for p, g in zip(method.parameters(), grads, strict=True):
            p.grad = g.clone()
        updates.apply(updates.grad_norm())
    wanted = by_hand(name, start, optim, steps)
    for n, p in method.named_parameters():
        torch.testing.assert_close(p.detach(), wanted[n], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["sgd", "lars", "larc", "adamw"])
def test_a_frozen_group_and_its_state_do_not_move_until_its_time(name):
    method = Two(frozen_until=0.5)
    updates = build(method, Optim(name=name, lr=0.1, lr_per=0), batch_size=1)
    before = method.head.weight.detach().clone()
    for step in range(4):
        clock = Clock(step, 4)
        updates.set_rates(clock)
        for p in method.parameters():
            p.grad = torch.ones_like(p)
        updates.freeze(clock)
        updates.apply(updates.grad_norm())
        still = torch.equal(method.head.weight.detach(), before)
        assert still == (step < 2)
        state = updates.optimizer.state[method.head.weight]
        assert any(value.any() for value in state.values()) == (step >= 2)


def test_clipping_together_scales_all_gradients_alike():
    method = Two()
    updates = build(method, Optim(lr=1.0, lr_per=0, momentum=0.0, clip=0.5), batch_size=1)
    updates.set_rates(Clock(0, 10))
    grads = [torch.randn_like(p) for p in method.parameters()]
    for p, g in zip(method.parameters(), grads, strict=True):
        p.grad = g.clone()
    norm = updates.grad_norm()
    assert norm.item() == pytest.approx(math.sqrt(sum(g.pow(2).sum().item() for g in grads)))
    updates.apply(norm)
    for p, g in zip(method.parameters(), grads, strict=True):
        torch.testing.assert_close(p.grad, g * (0.5 / (norm + 1e-6)))


def test_clipping_each_leaves_small_tensors_as_they_are():
    big, small = torch.full((4,), 3.0), torch.full((4,), 0.1)
    clip_each([big, small], 1.0)
    assert big.norm().item() == pytest.approx(1.0, rel=1e-5)
    assert torch.equal(small, torch.full((4,), 0.1))


def test_the_clip_setting_chooses_between_each_and_together():
    ends = []
    for each in (False, True):
        method = Two()
        optim = Optim(lr=1.0, lr_per=0, momentum=0.0, clip=0.5, clip_each=each)
        updates = build(method, optim, batch_size=1)
        updates.set_rates(Clock(0, 10))
        for p in method.parameters():
            p.grad = torch.ones_like(p)
        updates.apply(updates.grad_norm())
        ends.append(method.body.weight.grad.norm().item())
    assert ends[1] == pytest.approx(0.5, rel=1e-4)
    assert ends[0] < 0.4


def test_a_parameter_in_no_group_or_in_two_is_refused_by_name():
    class Leaky(Two):
        def param_groups(self):
            return super().param_groups()[:1]

    class Doubled(Two):
        def param_groups(self):
            return [*super().param_groups(), Group([self.body.bias])]

    with pytest.raises(Failure, match=r"Leaky.*leaves out head\.weight"):
        build(Leaky(), Optim(), batch_size=1)
    with pytest.raises(Failure, match=r"Doubled.*lists body\.bias twice"):
        build(Doubled(), Optim(), batch_size=1)


def test_the_gradient_norm_tells_of_any_value_that_is_not_finite():
    method = Two()
    updates = build(method, Optim(), batch_size=1)
    for p in method.parameters():
        p.grad = torch.ones_like(p)
    assert torch.isfinite(updates.grad_norm())
    method.head.bias.grad[1] = float("inf")
    assert not torch.isfinite(updates.grad_norm())


def test_a_parameter_with_gaps_in_memory_is_refused():
    method = Two()
    method.body.weight = nn.Parameter(torch.zeros(2, 6)[:, :3])
    with pytest.raises(Failure, match=r"^body\.weight has gaps in memory: .*contiguous copy\.$"):
        build(method, Optim(), batch_size=1)


@pytest.mark.parametrize("name", ["sgd", "lars", "larc", "adamw"])
def test_the_state_is_there_before_the_first_step_and_is_that_of_no_step(name):
    method = Two()
    start = {n: p.detach().clone() for n, p in method.named_parameters()}
    updates = build(method, Optim(name=name, weight_decay=0.3, lr=0.1), batch_size=256)
    for n, p in method.named_parameters():
        assert torch.equal(p, start[n])
        assert p.grad is None
        state = updates.optimizer.state[p]
        assert state
        assert not any(value.any() for value in state.values())
