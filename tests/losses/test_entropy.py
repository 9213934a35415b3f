import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import gammaln, ive

from manyviews.losses.entropy import (
    discrete_entropy,
    discrete_reconstruction,
    log_bessel,
    log_vmf_normaliser,
    vmf_entropy,
    vmf_reconstruction,
)

ORDERS = (0, 0.5, 1, 7.5, 31, 127, 499, 2047, 4999)
KAPPAS = (1e-3, 0.1, 1, 10, 100, 1000)


def points(n=12, d=5, seed=0):
    g = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(n, d, generator=g, dtype=torch.float64), dim=1)


def series(nu, kappa):
    """ln of (kappa/2)^nu / Gamma(nu + 1) * sum of a product of ratios, for kappa << nu."""
    ratio, total = 1.0, 0.0
    for m in range(2000):
        total += ratio
        ratio *= (kappa / 2) ** 2 / ((m + 1) * (nu + m + 1))
    return nu * math.log(kappa / 2) - float(gammaln(nu + 1)) + math.log(total)


@pytest.mark.parametrize("nu", ORDERS)
@pytest.mark.parametrize("kappa", KAPPAS)
def test_log_bessel_is_that_of_scipy_or_where_that_underflows_of_the_series(nu, kappa):
    scaled = float(ive(nu, kappa))  # I_nu(kappa) exp(-kappa)
    expected = math.log(scaled) + kappa if scaled > 1e-300 else series(nu, kappa)
    assert log_bessel(nu, kappa) == pytest.approx(expected, rel=1e-12, abs=1e-10)


@pytest.mark.parametrize("kappa", [0.01, 1.0, 10.0, 300.0])
def test_the_normaliser_on_the_common_sphere_is_its_closed_form(kappa):
    log_sinh = kappa + math.log1p(-math.exp(-2 * kappa)) - math.log(2)
    expected = math.log(kappa) - math.log(4 * math.pi) - log_sinh
    assert log_vmf_normaliser(3, kappa) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("dim", [2, 8, 512, 8192])
def test_a_flat_kernel_has_the_density_of_the_sphere(dim):
    log_area = math.log(2) + dim / 2 * math.log(math.pi) - math.lgamma(dim / 2)
    assert log_vmf_normaliser(dim, 1e-4) == pytest.approx(-log_area, abs=1e-7)


def kernels(z, kappa):
    """[N, N] densities, straight from the definition."""
    d = z.shape[1]
    bessel = float(ive(d / 2 - 1, kappa)) * math.exp(kappa)
    constant = kappa ** (d / 2 - 1) / ((2 * math.pi) ** (d / 2) * bessel)
    return constant * np.exp(kappa * z.numpy() @ z.numpy().T)


@pytest.mark.parametrize("kappa", [0.5, 10.0, 80.0])
def test_the_estimators_are_their_definitions(kappa):
    z = points()
    density = kernels(z, kappa)
    n = len(z)
    alone = (density * (1 - np.eye(n))).sum(axis=1) / (n - 1)
    joe = -np.log(alone).mean()
    own = density.mean(axis=1)
    plug_in = -(own / own.sum() * np.log(own)).sum()
    assert float(vmf_entropy(z, kappa=kappa)) == pytest.approx(joe, rel=1e-10)
    found = float(vmf_entropy(z, kappa=kappa, estimator="plug-in"))
    assert found == pytest.approx(plug_in, rel=1e-10)


def test_the_estimate_for_even_points_nears_the_entropy_of_the_sphere():
    z = points(4000, 3)
    for estimator in ("joe", "plug-in"):
        found = float(vmf_entropy(z, kappa=10.0, estimator=estimator))
        assert found == pytest.approx(math.log(4 * math.pi), abs=0.02)


def test_one_kernel_reconstructs_a_point_as_well_as_its_height():
    z = points()
    density = kernels(z, 10.0)
    found = float(vmf_reconstruction(z, z.roll(1, dims=0), kappa=10.0))
    expected = np.log([density[i, i - 1] for i in range(len(z))]).mean()
    assert found == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("estimator", ["joe", "plug-in"])
def test_gradients_are_those_of_finite_differences(estimator):
    z = points(5, 3).requires_grad_()

    def entropy(x):
        return vmf_entropy(F.normalize(x, dim=1), kappa=8.0, estimator=estimator)

    assert torch.autograd.gradcheck(entropy, z)


@pytest.mark.parametrize("estimator", ["joe", "plug-in"])
def test_many_dimensions_and_sharp_kernels_stay_finite_in_single_precision(estimator):
    for kappa in (1e-3, 10.0, 1000.0):
        z = points(6, 8192).float().requires_grad_()
        entropy = vmf_entropy(z, kappa=kappa, estimator=estimator)
        (entropy + vmf_reconstruction(z, z, kappa=kappa)).backward()
        assert torch.isfinite(entropy)
        assert torch.isfinite(z.grad).all()


def test_spread_and_agreement_are_what_the_two_terms_reward():
    close = F.normalize(points() * 0.01 + 1, dim=1)
    for estimator in ("joe", "plug-in"):
        low = vmf_entropy(close, kappa=10.0, estimator=estimator)
        assert vmf_entropy(points(), kappa=10.0, estimator=estimator) > low + 1
    same = vmf_reconstruction(points(), points(), kappa=10.0)
    assert same > vmf_reconstruction(points(), points(seed=1), kappa=10.0)


def test_the_entropy_of_clusters_is_that_of_their_mean_use():
    sure = F.one_hot(torch.arange(6) % 3, 4).double()
    assert float(discrete_entropy(sure)) == pytest.approx(math.log(3))
    assert float(discrete_entropy(torch.full((5, 4), 0.25))) == pytest.approx(math.log(4))


def test_dead_clusters_leave_the_gradient_finite():
    logits = torch.tensor([[0.0, 1.0, -400.0]], requires_grad=True)
    discrete_entropy(logits.softmax(dim=1)).backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.any()


def test_the_reconstruction_of_clusters_is_the_mean_of_both_cross_entropies():
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 6, 4, generator=g, dtype=torch.float64).log_softmax(dim=2)
    p, q = a.exp().numpy(), b.exp().numpy()
    expected = 0.5 * ((p * np.log(q)).sum(axis=1) + (q * np.log(p)).sum(axis=1)).mean()
    assert float(discrete_reconstruction(a, b)) == pytest.approx(expected, rel=1e-12)
