"""TiCo against public code: three steps, whose covariance each begins with the last one's.

What fails if a bug is planted: the covariance of earlier batches alone in the loss, a gradient
that does not pass through it, or a covariance that is not kept,
`test_public_code_takes_the_same_three_steps`; keys of the online network,
`test_keys_are_the_slow_copys_and_have_no_gradient`.
"""

import torch
from raw import Raw, batch_of, gaussian, load
from torch import nn

from manyviews.core import Clock
from manyviews.methods.redundancy.tico import TiCo, TiCoConfig
from manyviews.parts.norm import BatchNorm
from tiny import given

CLOCK = Clock(0, 10)


def without_head(**settings):
    method = TiCo(given(Raw(4)), TiCoConfig(out=4, **settings)).double()
    method.online.head = method.target.copy.head = nn.Identity()
    return method


def test_public_code_takes_the_same_three_steps():
    data = load("tico")
    method = without_head(contrast=float(data["rho"]), memory=float(data["beta"]))
    for s in range(3):
        query = data[f"query.{s}"].requires_grad_()
        step = method(batch_of(query, data[f"key.{s}"]), CLOCK)
        torch.testing.assert_close(step.total.detach(), 1 + data[f"loss.{s}"])
        (gradient,) = torch.autograd.grad(step.total, query)
        torch.testing.assert_close(gradient, data[f"gradient.{s}"])
        method.after_backward(step, CLOCK)
        torch.testing.assert_close(method.covariance, data[f"covariance.{s}"])


def test_a_covariance_without_memory_is_the_mean_of_squared_products():
    """z_i^T (1/N sum z_j z_j^T) z_i averaged: every sample against every sample, itself too."""
    a = gaussian(0, 6, 4)
    found = without_head(memory=0.0, contrast=1.0)(batch_of(a, a.detach()), CLOCK)
    z = a / a.norm(dim=1, keepdim=True)
    torch.testing.assert_close(found.losses["covariance"], (z @ z.T).square().mean())


def test_keys_are_the_slow_copys_and_have_no_gradient():
    torch.manual_seed(0)
    method = TiCo(given(Raw(3)), TiCoConfig(hidden=5, out=4)).double().train()
    with torch.no_grad():
        for p in method.online.head.parameters():
            p.mul_(-1.5)
    a, b = gaussian(0, 6, 3), gaussian(1, 6, 3)
    step = method(batch_of(a, b), CLOCK)
    z = nn.functional.normalize(method.online.head(a), dim=1)
    key = nn.functional.normalize(method.target.copy.head(b), dim=1)
    torch.testing.assert_close(step.losses["invariance"], 1 - (z * key).sum(1).mean())
    assert not torch.autograd.grad(step.total, b)[0].any()


def test_the_projector_is_that_of_the_public_code():
    head = TiCo(given(Raw(6)), TiCoConfig(hidden=8, out=7)).online.head
    assert [type(m) for m in head] == [nn.Linear, BatchNorm, nn.ReLU, nn.Linear]
    assert [m.bias is not None for m in head if isinstance(m, nn.Linear)] == [False, True]
