import pytest
import torch
from raw import Raw, assert_same, batch_of, gaussian, load
from torch import nn

from manyviews.core import Clock
from manyviews.losses.redundancy import covariance, invariance, variance
from manyviews.methods.redundancy.vicreg import VICReg, VICRegConfig
from manyviews.parts.norm import BatchNorm
from tiny import given

CLOCK = Clock(0, 10)


def column_covariance(x, y):
    count = len(x)
    mean_x, mean_y = sum(x) / count, sum(y) / count
    return sum((x[n] - mean_x) * (y[n] - mean_y) for n in range(count)) / (count - 1)


def equation_1(z):
    total = 0.0
    for column in z.T:
        deviation = (column_covariance(column, column) + 1e-4).sqrt()
        total = total + torch.clamp(1 - deviation, min=0)
    return total / z.shape[1]


def equation_4(z):
    total, dims = 0.0, z.shape[1]
    for i in range(dims):
        for j in range(dims):
            if i != j:
                total = total + column_covariance(z[:, i], z[:, j]) ** 2
    return total / dims


def equation_5(a, b):
    total = 0.0
    for x, y in zip(a, b, strict=True):
        total = total + sum((x[d] - y[d]) ** 2 for d in range(len(x)))
    return total / a.numel()


@pytest.mark.parametrize(("ours", "theirs"), [(variance, equation_1), (covariance, equation_4)])
def test_the_spread_terms_are_the_papers(ours, theirs):
    z = gaussian(0, 6, 4)
    scaled = z * torch.tensor([0.01, 0.5, 3.0, 0.8])  # one below, one above, two between
    assert_same(ours(scaled), theirs(scaled), (z,))


def test_invariance_is_equation_5_over_the_dimensions():
    a, b = gaussian(0, 6, 4), gaussian(1, 6, 4)
    assert_same(invariance(a, b), equation_5(a, b), (a, b))


def without_head(dim, **config):
    method = VICReg(given(Raw(dim)), VICRegConfig(hidden=4, out=4, **config)).double()
    method.online.head = nn.Identity()
    return method


def test_the_authors_code_gives_the_same_loss_and_gradient():
    data = load("vicreg")
    a, b = data["view_a"].requires_grad_(), data["view_b"].requires_grad_()
    loss = without_head(4)(batch_of(a, b), CLOCK).total
    torch.testing.assert_close(loss.detach(), data["loss"])
    gradient = torch.autograd.grad(loss, (a, b))
    torch.testing.assert_close(gradient, (data["gradient_a"], data["gradient_b"]))


def test_each_term_has_its_weight():
    a, b = gaussian(0, 6, 4) * 0.5, gaussian(1, 6, 4) * 0.5
    losses = without_head(4, invariance=2.0, variance=3.0, covariance=5.0)(batch_of(a, b), CLOCK)
    expected = {
        "invariance": 2 * equation_5(a, b),
        "variance": 3 * (equation_1(a) + equation_1(b)) / 2,
        "covariance": 5 * (equation_4(a) + equation_4(b)),
    }
    torch.testing.assert_close(dict(losses.losses), expected)


def test_the_expander_is_the_papers():
    """facebookresearch/vicreg main_vicreg.py Projector: biases but in the last layer."""
    head = VICReg(given(Raw(6)), VICRegConfig(hidden=8, out=7)).online.head
    hidden = [nn.Linear, BatchNorm, nn.ReLU]
    assert [type(m) for m in head] == [*hidden, *hidden, nn.Linear]
    linears = [m for m in head if isinstance(m, nn.Linear)]
    assert [m.out_features for m in linears] == [8, 8, 7]
    assert [m.bias is not None for m in linears] == [True, True, False]
    assert (VICRegConfig().hidden, VICRegConfig().out) == (8192, 8192)


def test_each_view_has_batch_statistics_of_its_own():
    torch.manual_seed(0)
    method = VICReg(given(Raw(3)), VICRegConfig(hidden=5, out=4)).double().train()
    a, b = gaussian(0, 6, 3), gaussian(1, 6, 3) * 3 + 5
    z = method(batch_of(a, b), CLOCK).projection
    torch.testing.assert_close(z[:, 0], method.online.head(a).detach())
    torch.testing.assert_close(z[:, 1], method.online.head(b).detach())
