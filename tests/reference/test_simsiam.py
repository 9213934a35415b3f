"""SimSiam against its formula and against numbers of the authors' code (data/README.md)."""

import pytest
import torch
from raw import Raw, assert_same, batch_of, gaussian, load
from torch import nn

from manyviews.core import Clock, Encoder, Features
from manyviews.losses.regression import negative_cosine, normalised_mse
from manyviews.methods.distillation.simsiam import SimSiam, SimSiamConfig
from manyviews.parts.norm import BatchNorm
from manyviews.training.optim import build
from manyviews.training.settings import Optim
from tiny import given

SAVED = load("simsiam")


def equation_1(prediction, target):
    """-p / |p| . z / |z|, averaged over the batch."""
    total = 0.0
    for p, z in zip(prediction, target, strict=True):
        lengths = (p * p).sum().sqrt() * (z * z).sum().sqrt()
        total = total - (p * z).sum() / lengths
    return total / len(prediction)


class Net(Encoder):
    """What stood below the projector in the saved run."""

    dim, grid = 5, (1,)

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Linear(6, 5), BatchNorm(5)

    def forward(self, x, *, keep=None, hide=None, blocks=0, tokens=True):
        x = torch.tanh(self.norm(self.first(x)))
        return Features(x, x[:, None])


def ours(name):
    """The authors' name of a tensor in our words."""
    return name.replace("encoder.fc.", "online.head.").replace("encoder.", "online.encoder.")


def test_the_loss_is_equation_1_and_half_of_byols_but_for_a_constant():
    prediction, target = gaussian(0, 5, 4), gaussian(1, 5, 4)
    expected = equation_1(prediction, target.detach())
    assert_same(negative_cosine(prediction, target), expected, (prediction,))
    loss = negative_cosine(prediction, target)
    assert_same(loss, normalised_mse(prediction, target) / 2 - 1, (prediction,))


def test_no_gradient_goes_to_the_target():
    prediction, target = gaussian(0, 5, 4), gaussian(1, 5, 4)
    negative_cosine(prediction, target).backward()
    assert prediction.grad.any()
    assert target.grad is None


def test_the_loss_is_half_the_sum_of_both_directions():
    torch.manual_seed(0)
    config = SimSiamConfig(hidden=5, out=4, bottleneck=3)
    method = SimSiam(given(Raw(3)), config).double().train()
    a, b = gaussian(0, 6, 3), gaussian(1, 6, 3)
    z_a, z_b = method.online.head(a), method.online.head(b)
    expected = equation_1(method.predictor(z_a), z_b.detach()) / 2
    expected = expected + equation_1(method.predictor(z_b), z_a.detach()) / 2
    assert_same(method(batch_of(a, b), Clock(0, 10)).total, expected, (a, b))


def test_six_steps_of_the_whole_method_are_those_of_the_authors_code():
    """Their SGD with weight decay on everything, their schedule, the predictor's fixed rate."""
    method = SimSiam(given(Net()), SimSiamConfig(hidden=5, out=8, bottleneck=3)).double().train()
    frozen = "encoder.fc.6.bias"
    start = {ours(k[3:]): v for k, v in SAVED.items() if k.startswith("p0.") and k[3:] != frozen}
    known = method.state_dict()
    method.load_state_dict({k: v.to(known[k].dtype) for k, v in start.items()})
    optim = Optim(name="sgd", lr=0.1, lr_per=0, weight_decay=1e-2, decay_all=True, by_epoch=True)
    updates, losses = build(method, optim, 7), []
    for i in range(6):
        clock = Clock(i, 6, epoch=i // 2, epochs=3)
        updates.set_rates(clock)
        step = method(batch_of(SAVED[f"a{i}"], SAVED[f"b{i}"]), clock)
        updates.clear()
        step.total.backward()
        if i == 0:
            for name, p in SAVED.items():
                if name.startswith("g0."):
                    grad = method.get_parameter(ours(name[3:])).grad
                    torch.testing.assert_close(grad, p, rtol=1e-8, atol=1e-12)
        updates.apply(updates.grad_norm())
        losses.append(step.total.detach())
    torch.testing.assert_close(torch.stack(losses), SAVED["losses"])
    for name, value in SAVED.items():
        if name.startswith("p.") and name[2:] != frozen and "running" not in name:
            mine = method.state_dict()[ours(name[2:])]
            torch.testing.assert_close(mine, value.to(mine.dtype), msg=lambda m, n=name: n + m)


def test_the_predictor_alone_keeps_its_rate():
    method = SimSiam(given(Raw(3)), SimSiamConfig(hidden=5, out=4, bottleneck=3))
    updates = build(method, Optim(name="sgd", lr=0.1, lr_per=0), 8)
    updates.set_rates(Clock(9, 10, epoch=9, epochs=10))
    rates = {
        id(p): group["lr"] for group in updates.optimizer.param_groups for p in group["params"]
    }
    assert all(rates[id(p)] == pytest.approx(0.1) for p in method.predictor.parameters())
    assert all(rates[id(p)] < 0.01 for p in method.online.head.parameters())


def test_the_heads_are_the_papers():
    """simsiam/builder.py: three layers with a last norm without factor; a bottleneck predictor."""
    method = SimSiam(given(Raw(6)), SimSiamConfig())
    layers = [nn.Linear, BatchNorm, nn.ReLU]
    assert [type(m) for m in method.online.head] == [*layers, *layers, nn.Linear, BatchNorm]
    assert not any(m.bias is not None for m in method.online.head if isinstance(m, nn.Linear))
    assert list(method.online.head[-1].parameters()) == []
    assert [type(m) for m in method.predictor] == [*layers, nn.Linear]
    assert method.predictor[0].weight.shape == (512, 2048)
    assert method.predictor[0].bias is None
    assert method.predictor[-1].bias is not None
