"""LeJEPA and VISReg against public code, and against what a Gaussian is.

What fails if a bug is planted: N left out of the statistic, or all views taken as one sample,
`test_the_authors_code_gives_the_same_loss_and_gradient`; the centre of all views,
`test_global_views_alone_make_the_centre`; a gradient through the deviation that is divided by,
`test_the_deviation_that_is_divided_by_has_no_gradient`.
"""

import math

import pytest
import torch
from raw import Raw, batch_of, gaussian, load
from torch import nn

from manyviews.core import Batch, Clock
from manyviews.losses import gaussian as losses
from manyviews.losses.gaussian import centre_scale_shape, epps_pulley, lines, to_centre
from manyviews.methods.redundancy import lejepa, visreg
from manyviews.methods.redundancy.lejepa import LeJEPA, LeJEPAConfig
from manyviews.methods.redundancy.visreg import VISReg, VISRegConfig
from manyviews.parts.norm import BatchNorm
from tiny import given

CLOCK = Clock(0, 10)


def without_head(kind, config, monkeypatch, along):
    """A method of which a test gives embeddings and lines."""
    for module in (lejepa, visreg):
        monkeypatch.setattr(module, "lines", lambda *args, **more: along)
    method = kind(given(Raw(5)), config).double()
    method.online.head = nn.Identity()
    return method


def agree(method, batch, data, z):
    step = method(batch, CLOCK)
    torch.testing.assert_close(step.total.detach(), data["loss"], rtol=1e-6, atol=1e-7)
    (gradient,) = torch.autograd.grad(step.total, z)
    assert data["gradient"].abs().max() > 1e-3
    torch.testing.assert_close(gradient, data["gradient"], rtol=1e-5, atol=1e-7)
    return step


def test_the_authors_code_gives_the_same_loss_and_gradient(monkeypatch):
    data = load("lejepa")
    z = data["views"].requires_grad_()
    config = LeJEPAConfig(gaussian=float(data["weight"]), out=5)
    method = without_head(LeJEPA, config, monkeypatch, data["along"])
    step = agree(method, batch_of(*z.unbind(1)), data, z)
    statistic = step.losses["gaussian"] / config.gaussian
    torch.testing.assert_close(statistic.detach(), data["statistic"], rtol=1e-6, atol=0)


def test_public_code_gives_visregs_terms_and_gradient(monkeypatch):
    data = load("visreg")
    z = data["views"].requires_grad_()
    config = VISRegConfig(gaussian=0.6, centre=3.0, scale=0.5, shape=2.0, out=5)
    method = without_head(VISReg, config, monkeypatch, data["along"])
    views = {"global": z[:, :2], "local": z[:, 2:]}
    step = agree(method, Batch(views, torch.arange(len(z))), data, z)
    torch.testing.assert_close(step.projection, z[:, :2])
    weights = {"invariance": 0.4, "centre": 1.8, "scale": 0.3, "shape": 1.2}
    for name, weight in weights.items():
        expected = weight * data[name]
        torch.testing.assert_close(step.losses[name].detach(), expected, rtol=1e-6, atol=1e-7)


def test_lines_are_drawn_as_the_authors_draw_them():
    """lejepa/multivariate/slicing.py: a generator seeded with the step."""
    drawn = torch.randn(5, 7, generator=torch.Generator().manual_seed(3))
    found = lines(5, 7, seed=3, like=torch.zeros(1))
    torch.testing.assert_close(found, drawn / drawn.norm(p=2, dim=0))
    assert not torch.equal(found, lines(5, 7, seed=4, like=torch.zeros(1)))


def test_the_statistic_is_the_integral_over_all_frequencies():
    """Against a fine sum from -3 to 3, one sample at a time."""
    z, along = gaussian(0, 4, 1, 2), lines(2, 3, seed=0, like=torch.zeros(1).double())
    t = torch.linspace(-3, 3, 4001, dtype=torch.float64)
    total = 0.0
    for line in along.T:
        x = [row @ line for row in z[:, 0]]
        real = sum((t * value).cos() for value in x) / 4 - (-t.square() / 2).exp()
        imaginary = sum((t * value).sin() for value in x) / 4
        error = (real.square() + imaginary.square()) * (-t.square() / 2).exp()
        total = total + 4 * torch.trapezoid(error, t) / 3
    torch.testing.assert_close(epps_pulley(z, along), total, rtol=1e-3, atol=0)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_gaussian_is_nearer_than_what_has_collapsed(seed):
    g = torch.Generator().manual_seed(seed)
    normal = torch.randn(512, 1, 8, generator=g)
    along = lines(8, 64, seed=0, like=normal)
    flat = normal.clone()
    flat[..., 1:] = 0
    for x in (flat, 0.1 * normal, normal + 1, 3 * normal):
        assert epps_pulley(x, along) > 5 * epps_pulley(normal, along)
        assert sum(centre_scale_shape(x, along)) > 5 * sum(centre_scale_shape(normal, along))


def test_the_deviation_that_is_divided_by_has_no_gradient():
    """So the shape's gradient has a part along the embeddings, which else it would not."""
    z = gaussian(0, 16, 1, 3)
    (gradient,) = torch.autograd.grad(centre_scale_shape(z, torch.eye(3).double())[2], z)
    centred = (z - z.mean(dim=0)).detach()[:, 0]
    ordered = (centred / centred.std(dim=0, unbiased=False)).sort(dim=0).values
    quantiles = torch.special.ndtri(torch.arange(1, 17, dtype=torch.float64) / 17)[:, None]
    expected = 2 * (ordered * (ordered - quantiles)).sum(dim=0) / ordered.numel()
    assert expected.abs().min() > 1e-3
    torch.testing.assert_close((centred * gradient[:, 0]).sum(dim=0), expected, rtol=1e-4, atol=0)


def test_sorted_embeddings_are_held_against_quantiles():
    """One dimension, one line: places i / (N + 1) of the normal distribution."""
    z = torch.tensor([3.0, -1.0, 0.5], dtype=torch.float64)[:, None, None]
    x = (z - z.mean()) / (z.std(unbiased=False) + losses.SCALE_EPSILON)
    quarter = 0.6744897501960817
    places = sorted(x.flatten().tolist())
    expected = sum((a - b) ** 2 for a, b in zip(places, (-quarter, 0.0, quarter), strict=True)) / 3
    centre, scale, shape = centre_scale_shape(z, torch.ones(1, 1).double())
    assert shape.item() == pytest.approx(expected, rel=1e-9)
    assert centre.item() == pytest.approx((2.5 / 3) ** 2)
    deviation = math.sqrt(sum((v - 2.5 / 3) ** 2 for v in (3, -1, 0.5)) / 3)
    assert scale.item() == pytest.approx((1 - deviation) ** 2)


def test_global_views_alone_make_the_centre():
    z = gaussian(0, 4, 3, 2)
    centre = (z[:, 0] + z[:, 1]) / 2
    expected = sum((z[:, v] - centre).square().mean() for v in range(3)) / 3
    torch.testing.assert_close(to_centre(z, views=2), expected)


@pytest.mark.parametrize(
    ("kind", "config", "act"),
    [(LeJEPA, LeJEPAConfig, nn.ReLU), (VISReg, VISRegConfig, nn.GELU)],
)
def test_the_projectors_are_those_of_public_code(kind, config, act):
    head = kind(given(Raw(6)), config(hidden=8, out=7)).online.head
    hidden = [nn.Linear, BatchNorm, act]
    assert [type(m) for m in head] == [*hidden, *hidden, nn.Linear]


@pytest.mark.parametrize(
    ("kind", "config", "term"),
    [(LeJEPA, LeJEPAConfig, "gaussian"), (VISReg, VISRegConfig, "shape")],
)
def test_every_step_looks_along_other_lines(kind, config, term):
    torch.manual_seed(0)
    method = kind(given(Raw(6)), config(hidden=8, out=7, lines=3)).double()
    batch = batch_of(*gaussian(0, 2, 9, 6).unbind(0))
    one, again, later = (method(batch, Clock(s, 10)).losses[term].item() for s in (1, 1, 2))
    assert one == again != later
