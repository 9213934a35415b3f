"""W-MSE against the authors' code, and what whitening promises.

What fails if a bug is planted: each view with an order of its own, the authors' two cases and
`test_views_share_their_sub_batches`; the covariance over S, not S - 1, the case of the four; a root
in place of the Cholesky factor, `test_triangular_changes_are_whitened_away`.
"""

import pytest
import torch
from raw import Raw, batch_of, gaussian, load
from torch import nn

from manyviews.core import Clock, UsageError, settings
from manyviews.losses.whitening import whitened_distance
from manyviews.methods.redundancy.wmse import WMSE, WMSEConfig
from manyviews.parts.norm import BatchNorm
from tiny import TinyConv, batch_for, given


@pytest.mark.parametrize("case", ["two", "four"])
def test_the_authors_code_gives_the_same_loss_and_gradient(case, monkeypatch):
    data = {k.partition(".")[2]: v for k, v in load("wmse").items() if k.startswith(f"{case}.")}
    z = data["views"].requires_grad_()
    orders = iter(data["orders"].long())
    monkeypatch.setattr(torch, "randperm", lambda samples, **_: next(orders))
    config = WMSEConfig(
        sub_batch=int(data["size"]),
        rounds=len(data["orders"]),
        shrinkage=float(data["shrinkage"]),
        out=5,
    )
    method = WMSE(given(Raw(5)), config).double()
    method.online.head = nn.Identity()
    loss = method(batch_of(*z.unbind(1)), Clock(0, 10)).total
    torch.testing.assert_close(loss.detach(), data["loss"])
    (gradient,) = torch.autograd.grad(loss, z)
    assert data["gradient"].abs().max() > 1e-3
    torch.testing.assert_close(gradient, data["gradient"])


def test_every_step_has_sub_batches_of_its_own():
    method = WMSE(given(Raw(5)), WMSEConfig(sub_batch=6, out=5)).double()
    batch = batch_of(gaussian(0, 12, 5), gaussian(1, 12, 5))
    first, second, again = (method(batch, Clock(step, 10)).total for step in (0, 1, 0))
    assert first == again
    assert first != second


def test_triangular_changes_are_whitened_away():
    """The Cholesky factor of T Cov T^T is T L for a lower triangular T, unlike a symmetric root."""
    z = torch.stack([gaussian(v, 8, 3) for v in range(2)], dim=1)
    lower = torch.tensor([[2.0, 0, 0], [1, 0.5, 0], [-3, 1, 4]], dtype=torch.float64)
    one, other = (whitened_distance(x, size=8, seed=0) for x in (z, z @ lower.T + 7))
    torch.testing.assert_close(one, other)
    assert (whitened_distance(z @ lower, size=8, seed=0) - one).abs() > 1e-3


def test_views_share_their_sub_batches():
    """Equal views are at no distance, whatever the order."""
    z = gaussian(0, 8, 3)[:, None].expand(-1, 2, -1)
    assert whitened_distance(z, size=4, seed=0).abs() < 1e-12


def test_equal_embeddings_make_no_number_and_no_error():
    z = torch.ones(8, 2, 3)
    assert whitened_distance(z, size=4, seed=0).isnan()


def test_the_head_is_the_authors_and_sees_all_views_at_once():
    """htdt/self-supervised model.py: get_head."""
    torch.manual_seed(0)
    method = WMSE(given(Raw(3)), WMSEConfig(sub_batch=6, hidden=5, out=4)).double().train()
    assert [type(m) for m in method.online.head] == [nn.Linear, BatchNorm, nn.ReLU, nn.Linear]
    a, b = gaussian(0, 6, 3), gaussian(1, 6, 3) * 3 + 5
    z = method(batch_of(a, b), Clock(0, 10)).projection
    torch.testing.assert_close(
        z.transpose(0, 1).flatten(0, 1), method.online.head(torch.cat([a, b]))
    )


def test_a_batch_that_is_not_divided_is_refused():
    method = WMSE(given(TinyConv()), WMSEConfig(sub_batch=6, out=4))
    with pytest.raises(UsageError, match=r"Sub-batches of 6 do not divide a batch of 8\. Set --d"):
        method(batch_for(method), Clock(0, 10))


def test_too_many_dimensions_are_refused():
    with pytest.raises(UsageError, match=r"sub-batch is 64; wanted above --method\.out 64"):
        settings.check(WMSEConfig(sub_batch=64))
    settings.check(WMSEConfig(sub_batch=64, shrinkage=0.1))
