"""Each published probe against torch's own layers and optimisers, written out again."""

import math

import pytest
import torch
from torch import nn

from manyviews.evaluation import sgd_probe
from manyviews.evaluation.sgd_probe import choose_rate, passes
from manyviews.training.lars import LARS


def data(n, *, d=6, classes=4, seed=1):
    g = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, d, generator=torch.Generator().manual_seed(0))
    y = torch.randint(0, classes, (n,), generator=g)
    return centres[y] + 0.7 * torch.randn(n, d, generator=g) + 0.5, y


def epochs(n, batch, count, seed, *, whole=False, weights=0):
    """The order of a probe, drawn after its first weights."""
    g = torch.Generator().manual_seed(seed)
    torch.randn(weights, generator=g)
    for epoch in range(count):
        parts = [p for p in torch.randperm(n, generator=g).split(batch)]
        yield epoch, [p for p in parts if not whole or len(p) == batch]


def layer(d, classes, start):
    linear = nn.Linear(d, classes)
    with torch.no_grad():
        linear.weight.copy_(start)
        linear.bias.zero_()
    return linear


def normal(d, classes, seed):
    return torch.zeros(classes, d).normal_(0, 0.01, generator=torch.Generator().manual_seed(seed))


def step(network, optimiser, x, y):
    optimiser.zero_grad()
    nn.functional.cross_entropy(network(x), y).backward()
    optimiser.step()


def same(heads, linear, i=0):
    torch.testing.assert_close(heads.weight[i], linear.weight.detach(), rtol=2e-4, atol=1e-5)
    torch.testing.assert_close(heads.bias[i], linear.bias.detach(), rtol=2e-4, atol=1e-5)
    assert linear.weight.abs().max() > 0.1


def test_moco_is_sgd_at_30_with_two_drops():
    x, y = data(600)
    heads = sgd_probe.moco(x / 30, y, classes=4, seed=3, epochs=10)
    linear = layer(6, 4, normal(6, 4, 3))
    optimiser = torch.optim.SGD(linear.parameters(), lr=30.0, momentum=0.9)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [6, 8], gamma=0.1)
    for _, parts in epochs(600, 256, 10, 3, weights=24):
        assert [len(p) for p in parts] == [256, 256, 88]
        for rows in parts:
            step(linear, optimiser, x[rows] / 30, y[rows])
        schedule.step()
    same(heads, linear)
    assert torch.equal(heads.predict(x / 30)[0], linear(x / 30).argmax(dim=1))


@pytest.mark.parametrize(("n", "batch"), [(1100, 1024), (300, 300)])
def test_dino_is_sgd_with_a_cosine_over_epochs(n, batch):
    x, y = data(n)
    x = 10 * x
    heads = sgd_probe.dino(x, y, classes=4, seed=5, epochs=20)
    linear = layer(6, 4, normal(6, 4, 5))
    rate = 0.001 * batch / 256
    optimiser = torch.optim.SGD(linear.parameters(), lr=rate, momentum=0.9, weight_decay=0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 20, eta_min=0)
    for _, parts in epochs(n, batch, 20, 5, weights=24):
        for rows in parts:
            step(linear, optimiser, x[rows], y[rows])
        schedule.step()
    same(heads, linear)


def test_mae_is_batch_norm_and_lars_with_warm_up(monkeypatch):
    x, y = data(700)
    monkeypatch.setattr(sgd_probe, "MAE_BATCH", 256)
    heads = sgd_probe.mae(x, y, classes=4, seed=7, epochs=90)
    start = nn.init.trunc_normal_(
        torch.empty(4, 6), std=0.01, generator=torch.Generator().manual_seed(7)
    )
    g = torch.Generator().manual_seed(7)
    nn.init.trunc_normal_(torch.empty(4, 6), std=0.01, generator=g)
    linear = layer(6, 4, start)
    norm = nn.BatchNorm1d(6, affine=False, eps=1e-6)
    optimiser = LARS(linear.parameters(), lr=0.1, momentum=0.9, weight_decay=0.0)
    for epoch in range(90):
        parts = torch.randperm(700, generator=g).split(256)[:-1]
        for i, rows in enumerate(parts):
            now = epoch + i / len(parts)
            if now < 10:
                rate = 0.1 * now / 10
            else:
                rate = 0.1 * 0.5 * (1 + math.cos(math.pi * (now - 10) / 80))
            optimiser.param_groups[0]["lr"] = rate
            step(nn.Sequential(norm, linear), optimiser, x[rows], y[rows])
    torch.testing.assert_close(heads.weight[0], linear.weight.detach(), rtol=2e-4, atol=1e-6)
    torch.testing.assert_close(heads.bias[0], linear.bias.detach(), rtol=2e-4, atol=1e-6)
    torch.testing.assert_close(heads.mean, norm.running_mean)
    torch.testing.assert_close(heads.scale, (norm.running_var + 1e-6).rsqrt())
    assert (linear.weight - start).norm() > 0.05 * start.norm()
    assert torch.equal(heads.predict(x)[0], linear(norm.eval()(x)).argmax(dim=1))


def test_dinov2s_heads_are_each_what_they_would_be_alone():
    x, y = data(300)
    rates = (1e-3, 5e-2, 0.1)
    heads = sgd_probe.dinov2(x, y, classes=4, rates=rates, seed=9, steps=50)
    for i, rate in enumerate(rates[1:], 1):
        linear = layer(6, 4, normal(6, 4, 9))
        optimiser = torch.optim.SGD(linear.parameters(), lr=rate * 128 / 256, momentum=0.9)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 50, eta_min=0)
        done = 0
        for _, parts in epochs(300, 128, 25, 9, whole=True, weights=24):
            for rows in parts:
                step(linear, optimiser, x[rows], y[rows])
                schedule.step()
                done += 1
        assert done == 50
        same(heads, linear, i)
    assert heads.predict(x).shape == (3, 300)


def test_the_published_settings_are_the_defaults():
    assert sgd_probe.MAE_BATCH == 16384
    assert len(sgd_probe.DINOV2_RATES) == 13
    assert (min(sgd_probe.DINOV2_RATES), max(sgd_probe.DINOV2_RATES)) == (1e-5, 0.1)
    defaults = {f: f.__kwdefaults__ for f in (sgd_probe.moco, sgd_probe.dino, sgd_probe.mae)}
    assert [d["epochs"] for d in defaults.values()] == [100, 100, 90]
    assert sgd_probe.dinov2.__kwdefaults__["steps"] == 12_500


def test_the_rate_is_chosen_on_held_out_training_labels():
    x, y = data(400, d=40, classes=2, seed=4)
    rate, tried = choose_rate(x, y, classes=2, steps=300)
    assert tried[rate] == max(tried.values()) > 0.8
    assert set(tried) == set(sgd_probe.DINOV2_RATES)
    # labels that are noise can be learnt by heart, and not be told for examples never seen
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(1000, 1200, generator=g), torch.randint(0, 2, (1000,), generator=g)
    [known] = sgd_probe.dinov2(x, y, classes=2, rates=(0.1,), steps=300).predict(x)
    assert torch.equal(known, y)
    assert max(choose_rate(x, y, classes=2, steps=300)[1].values()) < 0.7


def test_a_rate_that_diverges_is_not_chosen():
    x, y = data(400)
    rate, tried = choose_rate(x * 1e20, y, classes=4, steps=60)
    assert tried[0.1] == -1
    assert tried[rate] > -1


def test_an_epoch_sees_each_row_once_and_no_two_alike():
    found = list(
        passes(10, batch=4, epochs=2, whole=False, generator=torch.Generator().manual_seed(0))
    )
    assert [len(rows) for _, rows in found] == [4, 4, 2] * 2
    assert [time for time, _ in found] == pytest.approx([0, 1 / 3, 2 / 3, 1, 4 / 3, 5 / 3])
    orders = [torch.cat([rows for _, rows in part]).tolist() for part in (found[:3], found[3:])]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert orders[0] != orders[1]
