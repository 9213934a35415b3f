import math

import pytest
import torch
from raw import Raw, assert_same, batch_of, gaussian, load
from torch import nn

from manyviews.core import Batch, Clock
from manyviews.losses.contrastive import multi_crop_nt_xent, nt_xent, unit
from manyviews.methods.contrastive.simclr import SimCLR, SimCLRConfig
from manyviews.parts.norm import BatchNorm
from tiny import given

CLOCK = Clock(0, 10)


def equation_1(views, temperature):
    """Algorithm 1 of the paper: z_{2k-1}, z_{2k} are the views of sample k; L = mean of l(i, j)."""
    z = [v for pair in zip(*views, strict=True) for v in pair]
    size = len(z)

    def s(i, j):
        return (z[i] @ z[j]) / (z[i] @ z[i]).sqrt() / (z[j] @ z[j]).sqrt() / temperature

    def ell(i, j):
        below = sum(s(i, k).exp() for k in range(size) if k != i)
        return -(s(i, j).exp() / below).log()

    return sum(ell(2 * k, 2 * k + 1) + ell(2 * k + 1, 2 * k) for k in range(size // 2)) / size


def test_nt_xent_is_equation_1():
    a, b = gaussian(0, 5, 7), gaussian(1, 5, 7)
    ours = nt_xent(unit(torch.stack([a, b], dim=1)), temperature=0.3)
    assert_same(ours, equation_1((a, b), 0.3), (a, b))


def method_without_head(dim, **config):
    method = SimCLR(given(Raw(dim)), SimCLRConfig(**config)).double()
    method.projector = nn.Identity()
    return method


@pytest.mark.parametrize(("sum_of_views", "factor"), [(True, 1.0), (False, 0.5)])
def test_the_authors_code_gives_the_same_loss_and_gradient(sum_of_views, factor):
    data = load("simclr")
    a, b = data["view_a"].requires_grad_(), data["view_b"].requires_grad_()
    method = method_without_head(
        a.shape[1], temperature=float(data["temperature"]), sum_of_views=sum_of_views
    )
    loss = method(batch_of(a, b), CLOCK).total
    # TensorFlow averages in float32.
    torch.testing.assert_close(loss, factor * data["loss"], rtol=1e-6, atol=0)
    gradient = torch.autograd.grad(loss, (a, b))
    expected = (factor * data["gradient_a"], factor * data["gradient_b"])
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-8)


def test_indistinguishable_views_cost_the_logarithm_of_the_candidates():
    a = torch.ones(6, 4, dtype=torch.float64)
    step = method_without_head(4)(batch_of(a, a), CLOCK)
    torch.testing.assert_close(step.total.item(), math.log(11))
    torch.testing.assert_close(step.watch["contrastive_floor"].item(), 1.0)


@pytest.mark.parametrize("layers", [2, 3])
def test_the_projector_is_the_papers(layers):
    """google-research/simclr model_util.py: no biases, norms everywhere, no offset at the end."""
    head = SimCLR(given(Raw(6)), SimCLRConfig(layers=layers)).projector
    hidden = [nn.Linear, BatchNorm, nn.ReLU] * (layers - 1)
    assert [type(m) for m in head] == [*hidden, nn.Linear, BatchNorm]
    linears = [m for m in head if isinstance(m, nn.Linear)]
    assert [m.out_features for m in linears] == [6] * (layers - 1) + [128]
    assert all(m.bias is None for m in linears)
    norms = [m for m in head if isinstance(m, BatchNorm)]
    assert [m.bias is not None for m in norms] == [True] * (layers - 1) + [False]
    assert all(m.weight is not None for m in norms)


def test_batch_norms_see_both_views_at_once():
    torch.manual_seed(0)
    method = SimCLR(given(Raw(3)), SimCLRConfig(hidden=4, out=5)).double()
    a, b = gaussian(2, 6, 3), gaussian(3, 6, 3) + 2
    z = method(batch_of(a, b), CLOCK).projection
    expected = unit(method.projector(torch.cat([a, b])))
    torch.testing.assert_close(torch.cat([z[:, 0], z[:, 1]]), expected.detach())


def equation_7(z, temperature):
    """Caron et al. 2020, appendix A.8, crop by crop: negatives are all crops of other samples."""
    samples, crops = len(z), len(z[0])
    total = 0.0
    for i in range(samples):
        for a in range(crops):
            away = sum(
                (z[i][a] @ z[j][k] / temperature).exp()
                for j in range(samples)
                if j != i
                for k in range(crops)
            )
            for b in range(crops):
                if b != a:
                    near = (z[i][a] @ z[i][b] / temperature).exp()
                    total = total - (near / (near + away)).log()
    return total / (samples * crops * (crops - 1))


def test_with_local_views_the_loss_is_that_of_swavs_authors():
    """A positive among the negatives, or pairs of one size alone, and this fails."""
    x = gaussian(3, 4, 5, 7)
    method = method_without_head(7, temperature=0.3)
    step = method(Batch({"global": x[:, :2], "local": x[:, 2:]}, torch.arange(4)), CLOCK)
    assert_same(step.total, equation_7(unit(x), 0.3), (x,), rtol=1e-9, atol=1e-12)
    assert step.projection.shape == (4, 2, 7)
    same = torch.ones(4, 5, 7, dtype=torch.float64)
    batch = Batch({"global": same[:, :2], "local": same[:, 2:]}, torch.arange(4))
    assert method(batch, CLOCK).watch["contrastive_floor"].item() == pytest.approx(1)


def test_of_two_crops_it_is_nt_xent():
    x = gaussian(4, 5, 2, 7)
    z = unit(x)
    assert_same(multi_crop_nt_xent(z, temperature=0.2), nt_xent(z, temperature=0.2), (x,))
