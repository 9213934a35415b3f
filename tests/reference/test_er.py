import math

import pytest
import torch
import torch.nn.functional as F
from raw import Raw, assert_same, batch_of, gaussian, load
from scipy.special import iv

from manyviews.core import Clock, UsageError
from manyviews.losses.entropy import (
    discrete_entropy,
    discrete_reconstruction,
    vmf_entropy,
    vmf_reconstruction,
)
from manyviews.methods.clustering.swav import SwAV, SwAVConfig
from manyviews.methods.contrastive.moco import MoCo, MoCoConfig
from manyviews.methods.contrastive.simclr import SimCLR, SimCLRConfig
from manyviews.methods.distillation.byol import BYOL, BYOLConfig
from manyviews.methods.distillation.dino import DINO, DINOConfig
from manyviews.methods.information.er import ER, ERConfig
from manyviews.methods.masked.mae import MAE, MAEConfig
from manyviews.methods.redundancy.barlow import BarlowTwins, BarlowTwinsConfig
from manyviews.methods.redundancy.vicreg import VICReg, VICRegConfig
from manyviews.runs.entropy import spread
from manyviews.runs.settings import EntropyTerm
from tiny import TinyViT, batch_for, given

CLOCK = Clock(0, 10)
EPSILON = {"rtol": 1e-5, "atol": 1e-5}  # the authors add 1e-7 inside their logarithms


def density(x, y, kappa):
    """Of a vMF around y at x, as a product of numbers."""
    nu = len(x) / 2 - 1
    constant = kappa**nu / ((2 * math.pi) ** (len(x) / 2) * float(iv(nu, kappa)))
    return constant * (kappa * sum(a * b for a, b in zip(x, y, strict=True))).exp()


def joe(z, kappa):
    """Minus the mean log-density of each row among the kernels of the others."""
    total = 0.0
    for i, x in enumerate(z):
        others = [density(x, y, kappa) for j, y in enumerate(z) if j != i]
        total = total - (sum(others) / len(others)).log()
    return total / len(z)


def shannon(p):
    mean = sum(p) / len(p)
    return -sum(x * x.log() for x in mean)


@pytest.mark.parametrize("kappa", [1.0, 10.0])
def test_the_authors_plug_in_entropy_and_reconstruction_are_ours(kappa):
    data, key = load("er"), f"{kappa:g}"
    a, b = data["a"].requires_grad_(), data["b"].requires_grad_()
    entropy = vmf_entropy(a, kappa=kappa, estimator="plug-in")
    gradient = torch.autograd.grad(entropy, a)[0]
    torch.testing.assert_close(entropy.detach(), data[f"expectation.{key}"], **EPSILON)
    torch.testing.assert_close(gradient, data[f"expectation.{key}.gradient"], **EPSILON)
    error = -vmf_reconstruction(a, b, kappa=kappa)
    torch.testing.assert_close(error.detach(), data[f"reconstruction.{key}"], **EPSILON)
    for x, side in ((a, "a"), (b, "b")):
        gradient = torch.autograd.grad(error, x, retain_graph=True)[0]
        torch.testing.assert_close(gradient, data[f"reconstruction.{key}.gradient_{side}"])


@pytest.mark.parametrize("kappa", [1.0, 10.0])
def test_the_authors_joe_is_ours_with_a_points_own_kernel_put_back(kappa):
    """p = ((N - 1) p' + kernel at its own centre) / N, row by row, p' without the own kernel."""
    data = load("er")
    a, n = data["a"], len(data["a"])
    own = density(a[0], a[0], kappa)
    log_p = []
    for i in range(n):
        others = torch.cat([a[:i], a[i + 1 :]])
        alone = torch.stack([density(a[i], x, kappa) for x in others]).mean()
        log_p.append((((n - 1) * alone + own) / n).log())
    torch.testing.assert_close(-torch.stack(log_p).mean(), data[f"average.{kappa:g}"], **EPSILON)
    torch.testing.assert_close(vmf_entropy(a, kappa=kappa), joe(a, kappa))


def test_the_authors_discrete_terms_are_ours():
    data = load("er")
    a, b = data["logits_a"].requires_grad_(), data["logits_b"].requires_grad_()
    entropy = discrete_entropy(a.softmax(dim=1))
    gradient = torch.autograd.grad(entropy, a)[0]
    torch.testing.assert_close(entropy.detach(), data["discrete.entropy"], **EPSILON)
    torch.testing.assert_close(gradient, data["discrete.entropy.gradient"], **EPSILON)
    error = -discrete_reconstruction(a.log_softmax(dim=1), b.log_softmax(dim=1))
    torch.testing.assert_close(error.detach(), data["discrete.reconstruction"], **EPSILON)
    for x, side in ((a, "a"), (b, "b")):
        gradient = torch.autograd.grad(error, x, retain_graph=True)[0]
        torch.testing.assert_close(gradient, data[f"discrete.gradient_{side}"], **EPSILON)


def er(**settings):
    torch.manual_seed(0)
    return ER(given(Raw(3)), ERConfig(hidden=5, out=4, **settings)).double().train()


def views():
    return gaussian(0, 6, 3), gaussian(1, 6, 3)


def both(method, a, b):
    """Unit projections of two views whose images are interleaved in one batch, [6, 2, 4]."""
    z = method.projector(torch.stack([a, b], dim=1).flatten(0, 1))
    return F.normalize(z, dim=1).unflatten(0, (6, 2))


def test_on_the_sphere_the_loss_is_minus_the_bound():
    method, (a, b) = er(concentration=7.0, entropy=0.5), views()
    z = both(method, a, b)
    entropy = (joe(z[:, 0], 7.0) + joe(z[:, 1], 7.0)) / 2
    reconstruction = sum(density(x, y, 7.0).log() for x, y in z) / 6
    step = method(batch_of(a, b), CLOCK)
    assert_same(step.total, -reconstruction - 0.5 * entropy, (a, b))
    torch.testing.assert_close(step.losses["reconstruction"], -reconstruction)
    assert step.watch == {}


def test_on_prototypes_the_loss_is_minus_the_bound():
    method, (a, b) = er(space="prototypes", prototypes=5, temperature=0.3), views()
    scores = both(method, a, b) @ method.prototypes.weight.T / 0.3
    p, q = scores.softmax(dim=-1).unbind(1)
    entropy = (shannon(p) + shannon(q)) / 2
    pairs = zip(p, q, strict=True)
    reconstruction = sum((x * y.log() + y * x.log()).sum() / 2 for x, y in pairs) / 6
    step = method(batch_of(a, b), CLOCK)
    assert_same(step.total, -reconstruction - entropy, (a, b))
    assert set(step.watch) == {"target_entropy", "usage_entropy"}


def test_a_step_puts_the_prototypes_back_on_the_sphere():
    method = er(space="prototypes", prototypes=5)
    with torch.no_grad():
        method.prototypes.weight.mul_(3.0)
    method.after_step(CLOCK)
    torch.testing.assert_close(method.prototypes.weight.norm(dim=1), torch.ones(5).double())


def test_the_estimator_is_the_one_asked_for():
    plug_in, (a, b) = er(estimator="plug-in"), views()
    z = both(plug_in, a, b)
    expected = [vmf_entropy(z[:, v], kappa=10.0, estimator="plug-in") for v in range(2)]
    found = plug_in(batch_of(a, b), CLOCK).losses["entropy"]
    torch.testing.assert_close(found, -sum(expected) / 2)


@pytest.mark.parametrize("kappa", [0.0, -1.0, math.nan, math.inf, 1e9])
def test_a_concentration_that_is_none_is_named(kappa):
    with pytest.raises(UsageError, match=r"concentration .*; wanted a number above 0"):
        er(concentration=kappa)(batch_of(*views()), CLOCK)


def test_a_batch_of_one_has_no_entropy_and_says_so():
    with pytest.raises(UsageError, match=r"wanted 2 or more, got 1\. Raise --data.batch-size"):
        vmf_entropy(F.normalize(gaussian(0, 1, 4), dim=1), kappa=10.0)


def predictions(method, a, b):
    """[6, 2, K] distributions of the student over prototypes."""
    scores = method.online.head(torch.stack([a, b], dim=1).flatten(0, 1))
    if isinstance(method, SwAV):
        scores = F.normalize(scores, dim=1) @ method.prototypes.weight.T
    return (scores / method.config.temperature).softmax(dim=1).unflatten(0, (6, 2))


def one_by_one(head):
    return lambda a, b: torch.stack([head(a), head(b)], dim=1)


def together(head):
    return lambda a, b: head(torch.stack([a, b], dim=1).flatten(0, 1)).unflatten(0, (6, 2))


SPHERE = {
    "simclr": (SimCLR, SimCLRConfig(hidden=5, out=4), lambda m: together(m.projector)),
    "moco": (
        MoCo,
        MoCoConfig(hidden=5, out=4, queue=6, norm_groups=0, symmetric=True),
        lambda m: one_by_one(m.online.head),
    ),
    "byol": (BYOL, BYOLConfig(hidden=5, out=4), lambda m: one_by_one(m.online.head)),
    "barlow": (
        BarlowTwins,
        BarlowTwinsConfig(hidden=5, out=4),
        lambda m: one_by_one(m.online.head),
    ),
    "vicreg": (VICReg, VICRegConfig(hidden=5, out=4), lambda m: one_by_one(m.online.head)),
}
PROTOTYPES = {
    "swav": (SwAV, SwAVConfig(hidden=5, out=4, prototypes=5, queue=0)),
    "dino": (DINO, DINOConfig(hidden=5, bottleneck=4, prototypes=5)),
}


def with_and_without(kind, config, **term):
    """The same method twice, with the term and without it; and what each makes of two views."""
    found = []
    for added in (True, False):
        torch.manual_seed(0)
        method = kind(given(Raw(3)), config).double().train()
        if added:
            spread(method, EntropyTerm(**term))
        a, b = views()
        found.append((method, a, b, method(batch_of(a, b), CLOCK)))
    return found


@pytest.mark.parametrize("name", SPHERE)
def test_the_term_is_minus_the_entropy_of_the_projections(name):
    kind, config, project = SPHERE[name]
    one, two = with_and_without(kind, config, weight=0.3, concentration=7.0)
    method, a, b, step = one
    z = F.normalize(project(method)(a, b), dim=2)
    expected = -0.3 * (joe(z[:, 0], 7.0) + joe(z[:, 1], 7.0)) / 2
    assert_same(step.losses["entropy"], expected, (a, b))
    rest = {k: v for k, v in step.losses.items() if k != "entropy"}
    assert rest == two[3].losses  # to the bit


@pytest.mark.parametrize("name", PROTOTYPES)
def test_the_term_is_minus_the_entropy_of_the_mean_prediction(name):
    one, two = with_and_without(*PROTOTYPES[name], weight=0.3)
    method, a, b, step = one
    p = predictions(method, a, b)
    expected = -0.3 * (shannon(p[:, 0]) + shannon(p[:, 1])) / 2
    assert_same(step.losses["entropy"], expected, (a, b))
    rest = {k: v for k, v in step.losses.items() if k != "entropy"}
    assert rest == two[3].losses


def test_a_method_without_projections_is_refused_by_name():
    method = MAE(given(TinyViT()), MAEConfig(width=8, depth=1, heads=2))
    spread(method, EntropyTerm(weight=0.3))
    with pytest.raises(UsageError, match=r"MAE compares no projections.*--entropy.weight"):
        method(batch_for(method), CLOCK)
