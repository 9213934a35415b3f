import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from manyviews.core import UsageError
from manyviews.diagnosis.bounds import (
    entropy_reconstruction,
    infonce_bound,
)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pair(n, d, noise=0.5):
    a = randn(n, d)
    return a, a + noise * randn(n, d, seed=1)


def test_the_contrastive_bound_is_ln_m_less_the_loss():
    a, b = pair(30, 6)
    logits = F.normalize(a) @ F.normalize(b).T / 0.2
    target = torch.arange(30)
    loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    found = infonce_bound(a, b, temperature=0.2)
    assert found.bound == pytest.approx(math.log(30) - float(loss), abs=1e-5)
    assert found.candidates == 30
    bound, candidates = found
    assert (bound, candidates) == (found.bound, 30)


def test_the_contrastive_bound_saturates_at_ln_m_and_is_0_for_a_constant():
    a = torch.eye(16)
    assert infonce_bound(a, a, temperature=0.01).bound == pytest.approx(math.log(16))
    same = torch.ones(16, 4)
    assert infonce_bound(same, same, temperature=0.1).bound == pytest.approx(0, abs=1e-6)
    assert infonce_bound(randn(200, 8), randn(200, 8, seed=1), temperature=0.2).bound < 0


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_chunks_change_nothing(chunk):
    a, b = pair(40, 6)
    found = infonce_bound(a, b, temperature=0.1, chunk=chunk)
    assert found.bound == pytest.approx(infonce_bound(a, b, temperature=0.1).bound)


def test_on_the_ordinary_sphere_the_terms_are_the_textbooks():
    # in three dimensions C(kappa) = kappa / (4 pi sinh kappa)
    a, b = pair(25, 3)
    kappa = 4.0
    x, y = (F.normalize(z.double()).numpy() for z in (a, b))
    constant = kappa / (4 * math.pi * math.sinh(kappa))
    kernel = constant * np.exp(kappa * y @ y.T)
    others = (kernel.sum(axis=1) - np.diag(kernel)) / 24
    density = kernel.mean(axis=1)
    found = entropy_reconstruction(a, b, kappa=kappa)
    assert found.entropy_joe == pytest.approx(-np.log(others).mean(), abs=1e-6)
    weights = density / density.sum()
    assert found.entropy_plugin == pytest.approx(-(weights * np.log(density)).sum(), abs=1e-6)
    rebuilt = (kappa * (x * y).sum(axis=1)).mean() + math.log(constant)
    assert found.reconstruction == pytest.approx(rebuilt, abs=1e-6)
    assert found.bound == pytest.approx(found.entropy_joe + found.reconstruction)


def test_features_all_round_a_circle_have_its_entropy():
    angle = torch.arange(1000) * 2 * math.pi / 1000
    circle = torch.stack([angle.cos(), angle.sin()], dim=1)
    found = entropy_reconstruction(circle, circle, kappa=10)
    assert found.entropy_joe == pytest.approx(math.log(2 * math.pi), abs=0.01)
    assert found.entropy_plugin == pytest.approx(math.log(2 * math.pi), abs=0.01)


def test_a_wide_space_does_not_underflow():
    # the authors' own value, -249.3 for d = 1000, is off by about 1,800 nats
    found = entropy_reconstruction(*pair(200, 1000))
    assert all(map(math.isfinite, (found.entropy_joe, found.reconstruction)))
    assert found.entropy_joe < -1500
    assert found.reconstruction > 1500


def test_a_collapse_has_little_entropy_and_perfect_reconstruction():
    a, b = pair(200, 8)
    healthy = entropy_reconstruction(a, b)
    same = torch.ones(200, 8)
    collapsed = entropy_reconstruction(same, same)
    assert collapsed.entropy_joe < healthy.entropy_joe
    assert collapsed.reconstruction > healthy.reconstruction
    assert collapsed.bound == pytest.approx(0, abs=1e-4)


def test_no_more_rows_are_looked_at_than_asked():
    a, b = pair(60, 4)
    few = entropy_reconstruction(a[:20], b[:20])
    assert entropy_reconstruction(a, b, rows=20) == few
    assert entropy_reconstruction(a, b) != few


def test_what_has_no_bound_is_refused_in_one_line():
    x = randn(10, 3)
    for call, word in (
        (lambda: infonce_bound(x, x[:5], temperature=0.1), "same samples"),
        (lambda: infonce_bound(x, x, temperature=0.0), "temperature 0.0"),
        (lambda: infonce_bound(x[:1], x[:1], temperature=0.1), "2 or more"),
        (lambda: infonce_bound(x * math.nan, x, temperature=0.1), "diverged"),
        (lambda: entropy_reconstruction(x, x, kappa=0.0), "kappa 0.0"),
        (lambda: entropy_reconstruction(x[:, :1], x[:, :1]), "two dimensions"),
        (lambda: entropy_reconstruction(x[:1], x[:1]), "2 or more"),
    ):
        with pytest.raises(UsageError) as caught:
            call()
        assert word in str(caught.value)
        assert "\n" not in str(caught.value)
