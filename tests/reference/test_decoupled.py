"""SimCLR's siblings by their loss: DCL, DCLW, debiased, HCL, alignment and uniformity, margins.

Each against public code (data/README.md) and, loop by loop, against its paper's formula.

What fails if a bug is planted: the debiased sum without its least value,
`test_debiased_is_that_of_the_authors_code[floor]`; a sample compared with itself,
`test_uniformity_does_not_compare_a_sample_with_itself`; the hardest negative taken,
`test_the_hardest_negative_is_not_taken`.
"""

import math

import pytest
import torch
from raw import Raw, assert_same, batch_of, gaussian, load
from torch import nn

from manyviews.core import Clock
from manyviews.losses.contrastive import debiased, decoupled, nt_xent, unit
from manyviews.losses.margin import drlim, semi_hard_triplet
from manyviews.losses.sphere import alignment, uniformity
from manyviews.methods.contrastive.align_uniform import AlignUniform, AlignUniformConfig
from manyviews.methods.contrastive.dcl import DCL, DCLConfig
from manyviews.methods.contrastive.debiased import Debiased, DebiasedConfig
from manyviews.methods.contrastive.drlim import DrLIM, DrLIMConfig
from manyviews.methods.contrastive.hcl import HCL, HCLConfig
from manyviews.methods.contrastive.triplet import Triplet, TripletConfig
from tiny import given

CLOCK = Clock(0, 10)


def without_head(method, config, dim=5):
    method = method(given(Raw(dim)), config).double()
    method.projector = nn.Identity()
    return method


def agrees(method, data, prefix="", factor=1.0, **close):
    """Loss and gradient in both views are those of public code, times a factor."""
    views = (data.get(f"{prefix}.view_{v}", data.get(f"view_{v}")) for v in "ab")
    a, b = (view.clone().requires_grad_() for view in views)
    loss = method(batch_of(a, b), CLOCK).total
    torch.testing.assert_close(loss.detach(), factor * data[f"{prefix}.loss"], **close)
    for view, gradient in zip("ab", torch.autograd.grad(loss, (a, b)), strict=True):
        expected = factor * data[f"{prefix}.gradient_{view}"]
        assert expected.abs().max() > 1e-6
        torch.testing.assert_close(gradient, expected, **close)


@pytest.mark.parametrize("kind", ["dcl", "dclw"])
def test_decoupled_is_half_the_sum_of_both_directions_of_the_public_code(kind):
    data = load("dcl")
    sigma = float(data["sigma"]) if kind == "dclw" else 0.0
    config = DCLConfig(temperature=float(data["temperature"]), sigma=sigma)
    agrees(without_head(DCL, config), data, kind, factor=0.5)


@pytest.mark.parametrize("kind", ["usual", "floor"])
def test_debiased_is_that_of_the_authors_code(kind):
    data = load("debiased")
    config = DebiasedConfig(
        temperature=float(data["temperature"]), prior=float(data[f"{kind}.prior"])
    )
    agrees(without_head(Debiased, config), data, kind)


@pytest.mark.parametrize("kind", ["one", "half"])
def test_hard_negatives_are_those_of_the_authors_code(kind):
    data = load("hcl")
    config = HCLConfig(
        temperature=float(data["temperature"]),
        prior=float(data["prior"]),
        hardness=float(data[f"{kind}.hardness"]),
    )
    agrees(without_head(HCL, config), data, kind)


@pytest.mark.parametrize("kind", ["default", "other"])
def test_alignment_and_uniformity_are_those_of_the_authors_code(kind):
    data = load("align_uniform")
    named = {k: float(data[f"{kind}.{k}"]) for k in ("alpha", "t", "align", "uniform")}
    agrees(without_head(AlignUniform, AlignUniformConfig(**named)), data, kind)


def views(*shape):
    return [gaussian(seed, *shape) for seed in (0, 1)]


def others(z, v, i):
    """Both views of every other sample."""
    return [z[w][j] for w in (0, 1) for j in range(len(z[0])) if j != i]


def anchors(z):
    return [(v, i) for v in (0, 1) for i in range(len(z[0]))]


def test_decoupled_is_the_papers_formula():
    a, b = views(4, 3)
    z, total = [unit(a), unit(b)], 0.0
    exponents = [(x @ y / 0.5).exp() for x, y in zip(*z, strict=True)]
    for v, i in anchors(z):
        weight = 2 - exponents[i] / (sum(exponents) / 4)
        below = sum((z[v][i] @ n / 0.2).exp() for n in others(z, v, i))
        total = total + (-weight * (z[0][i] @ z[1][i]) / 0.2 + below.log()) / 8
    assert_same(decoupled(torch.stack(z, dim=1), temperature=0.2, sigma=0.5), total, (a, b))


def test_debiased_without_a_prior_is_nt_xent():
    a, b = views(4, 3)
    z = unit(torch.stack([a, b], dim=1))
    assert_same(debiased(z, temperature=0.5, prior=0.0), nt_xent(z, temperature=0.5), (a, b))


def test_a_low_temperature_does_not_overflow():
    z = unit(torch.stack(views(4, 3), dim=1)).float()
    assert debiased(z, temperature=0.005, prior=0.1, hardness=1.0).isfinite()


@pytest.mark.parametrize("loss", [decoupled, debiased])
def test_equal_views_are_the_floor(loss):
    same = unit(torch.ones(4, 2, 3, dtype=torch.float64))
    more = {"prior": 0.1} if loss is debiased else {}
    expected = math.log(7 if loss is debiased else 6)
    torch.testing.assert_close(loss(same, temperature=0.5, **more).item(), expected)


def test_uniformity_does_not_compare_a_sample_with_itself():
    x = unit(gaussian(0, 5, 3))
    pairs = [(-2 * (x[i] - x[j]).square().sum()).exp() for i in range(5) for j in range(i)]
    torch.testing.assert_close(uniformity(x), (sum(pairs) / len(pairs)).log())


def test_alignment_of_equal_views_has_a_gradient_without_nan():
    x = unit(gaussian(0, 5, 3).detach()).requires_grad_()
    (gradient,) = torch.autograd.grad(alignment(x, x.detach().clone()), x)
    assert not gradient.any()


def test_drlim_is_the_papers_formula():
    """Equations 3 and 4, with the mean over each kind of pair in place of its sum."""
    a, b = views(4, 3)
    method = without_head(DrLIM, DrLIMConfig(margin=2.0), dim=3)
    loss = method(batch_of(a, b), CLOCK).total
    z = [a, b]
    near = [(x - y).square().sum() / 2 for x, y in zip(*z, strict=True)]
    far = [
        (2.0 - (z[v][i] - n).norm()).clamp(min=0) ** 2 / 2
        for v, i in anchors(z)
        for n in others(z, v, i)
    ]
    assert 0 < sum(x.item() > 0 for x in far) < len(far)
    expected = sum(near) / len(near) + sum(far) / len(far)
    assert_same(loss, expected, (a, b), rtol=1e-6, atol=1e-9)


def test_drlim_of_equal_points_has_a_gradient_without_nan():
    z = torch.zeros(3, 2, 4, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(drlim(z, margin=1.0), z)
    assert gradient.isfinite().all()


def semi_hard(z, margin):
    """Section 3.2, one anchor at a time."""
    total, kinds = 0.0, set()
    for v, i in anchors(z):
        positive = (z[v][i] - z[1 - v][i]).square().sum()
        distances = sorted((z[v][i] - n).square().sum() for n in others(z, v, i))
        farther = [d for d in distances if d > positive]
        kinds.add(bool(farther))
        chosen = farther[0] if farther else distances[-1]
        total = total + (margin + positive - chosen).clamp(min=0) / (2 * len(z[0]))
    return total, kinds


def test_the_triplets_are_semi_hard_ones():
    a, b = views(4, 2)
    with torch.no_grad():
        b[0] = -a[0]  # as far as can be: no negative is farther
    loss = without_head(Triplet, TripletConfig(margin=0.2), dim=2)(batch_of(a, b), CLOCK).total
    expected, kinds = semi_hard([unit(a), unit(b)], 0.2)
    assert kinds == {True, False}
    assert_same(loss, expected, (a, b))


def test_the_hardest_negative_is_not_taken():
    """It would be nearer than the partner, and triplets of such collapse."""
    z = torch.tensor([[[0.0], [1.0]], [[0.5], [9.0]]])  # of 0: partner at 1, others at .25 and 81
    taken = semi_hard_triplet(z, margin=100.0)
    # anchors 0, 0.5, 1, 9: partners at 1, 72.25, 1, 72.25; semi-hard or else farthest
    expected = [100 + 1 - 81, 100 + 72.25 - 0.25, 100 + 1 - 64, 100 + 72.25 - 81]
    torch.testing.assert_close(taken.item(), sum(expected) / 4)
