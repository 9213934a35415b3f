import torch
from raw import Raw, assert_same, batch_of, gaussian, load
from torch import nn

from manyviews.core import Clock
from manyviews.losses.redundancy import barlow_twins
from manyviews.methods.redundancy.barlow import BarlowTwins, BarlowTwinsConfig
from manyviews.parts.norm import BatchNorm
from tiny import given

CLOCK = Clock(0, 10)


def equation_1(a, b, off_diagonal):
    """Correlations one pair of dimensions at a time; batch norm as torch's, in train mode."""
    count, dims = a.shape

    def standardised(x):
        mean = sum(x[n] for n in range(count)) / count
        var = sum((x[n] - mean) ** 2 for n in range(count)) / count
        return (x - mean) / (var + 1e-5).sqrt()

    total = 0.0
    for i in range(dims):
        for j in range(dims):
            x, y = standardised(a[:, i]), standardised(b[:, j])
            c = sum(x[n] * y[n] for n in range(count)) / count
            total = total + ((1 - c) ** 2 if i == j else off_diagonal * c**2)
    return total


def test_barlow_twins_is_equation_1():
    a, b = gaussian(0, 6, 4), gaussian(1, 6, 4)
    # Small values, so that epsilon counts.
    ours = barlow_twins(a * 0.01, b + 1, off_diagonal=0.02)
    assert_same(ours, equation_1(a * 0.01, b + 1, 0.02), (a, b))


def test_the_authors_code_gives_the_same_loss_and_gradient():
    data = load("barlow")
    a, b = data["view_a"].requires_grad_(), data["view_b"].requires_grad_()
    config = BarlowTwinsConfig(off_diagonal=float(data["off_diagonal"]), hidden=4, out=4)
    method = BarlowTwins(given(Raw(4)), config).double()
    method.online.head = nn.Identity()
    loss = method(batch_of(a, b), CLOCK).total
    torch.testing.assert_close(loss.detach(), data["loss"])
    gradient = torch.autograd.grad(loss, (a, b))
    torch.testing.assert_close(gradient, (data["gradient_a"], data["gradient_b"]))


def test_the_projector_is_the_papers():
    """facebookresearch/barlowtwins main.py: three layers, no bias, no norm at the end."""
    head = BarlowTwins(given(Raw(6)), BarlowTwinsConfig(hidden=8, out=7)).online.head
    hidden = [nn.Linear, BatchNorm, nn.ReLU]
    assert [type(m) for m in head] == [*hidden, *hidden, nn.Linear]
    linears = [m for m in head if isinstance(m, nn.Linear)]
    assert [m.out_features for m in linears] == [8, 8, 7]
    assert all(m.bias is None for m in linears)
    assert (BarlowTwinsConfig().hidden, BarlowTwinsConfig().out) == (8192, 8192)


def test_each_view_has_batch_statistics_of_its_own():
    torch.manual_seed(0)
    method = BarlowTwins(given(Raw(3)), BarlowTwinsConfig(hidden=5, out=4)).double().train()
    a, b = gaussian(0, 6, 3), gaussian(1, 6, 3) * 3 + 5
    z = method(batch_of(a, b), CLOCK).projection
    torch.testing.assert_close(z[:, 0], method.online.head(a).detach())
    torch.testing.assert_close(z[:, 1], method.online.head(b).detach())
