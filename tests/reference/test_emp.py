"""EMP-SSL against the authors' code, and what a coding rate is.

What fails if a bug is planted: the rate of all crops of the batch together, its sign turned, or
the mean crop brought to length 1 with its gradient stopped,
`test_the_authors_code_gives_the_same_loss_and_gradient`.
"""

import math

import pytest
import torch
from raw import Raw, batch_of, gaussian, load
from torch import nn

from manyviews.core import Clock
from manyviews.losses.coding import coding_rate, likeness_to_mean
from manyviews.losses.contrastive import unit
from manyviews.methods.redundancy.emp import EMP, EMPConfig
from manyviews.parts.norm import BatchNorm
from tiny import given

CLOCK = Clock(0, 10)


@pytest.mark.parametrize("shape", ["tall", "wide"])
def test_the_authors_code_gives_the_same_loss_and_gradient(shape):
    data = {k.partition(".")[2]: v for k, v in load("emp").items() if k.startswith(shape)}
    x = data["views"].requires_grad_()
    method = EMP(given(Raw(x.shape[-1])), EMPConfig()).double()
    method.projector = nn.Identity()
    step = method(batch_of(*x.unbind(1)), CLOCK)
    torch.testing.assert_close(step.total.detach(), data["loss"])
    torch.testing.assert_close(step.losses["likeness"].detach(), 200 * data["likeness"])
    torch.testing.assert_close(step.losses["coding_rate"].detach(), data["coding_rate"])
    (gradient,) = torch.autograd.grad(step.total, x)
    torch.testing.assert_close(gradient, data["gradient"])


def test_embeddings_at_right_angles_take_most_and_equal_ones_least():
    """1/2 B ln(1 + D / (B e)) and 1/2 ln(1 + D / e)."""
    apart = torch.eye(8, dtype=torch.float64)[:4, None]
    rate = coding_rate(apart, precision=0.2)
    assert rate.item() == pytest.approx(0.5 * 4 * math.log(1 + 8 / (4 * 0.2)))
    same = apart[:1].expand(4, -1, -1)
    assert coding_rate(same, precision=0.2).item() == pytest.approx(0.5 * math.log(1 + 8 / 0.2))
    between = coding_rate(unit(gaussian(0, 4, 1, 8)), precision=0.2)
    assert coding_rate(same, precision=0.2) < between < rate


@pytest.mark.parametrize("count", [3, 12])
def test_both_determinants_are_one(count):
    z = unit(gaussian(0, count, 2, 6))
    rates = [
        torch.logdet(torch.eye(6) + 6 / (count * 0.1) * view.T @ view) / 2 for view in z.unbind(1)
    ]
    torch.testing.assert_close(coding_rate(z, precision=0.1), torch.stack(rates).mean())


def test_equal_crops_are_like_their_mean():
    z = unit(gaussian(0, 5, 1, 3)).expand(-1, 4, -1)
    assert likeness_to_mean(z).item() == pytest.approx(1.0)


def test_the_projector_is_the_authors():
    head = EMP(given(Raw(6)), EMPConfig(hidden=8, out=7)).projector
    hidden = [nn.Linear, BatchNorm, nn.ReLU]
    assert [type(m) for m in head] == [*hidden, *hidden, nn.Linear]
