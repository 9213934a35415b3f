import math

import pytest
import torch
from raw import Raw, assert_same, batch_of, gaussian, load
from torch import Tensor, nn

from manyviews.core import Clock, Encoder, Features
from manyviews.core.schedules import Cosine
from manyviews.losses.contrastive import info_nce, unit
from manyviews.methods.contrastive.moco import MoCo, MoCoConfig
from manyviews.parts.norm import BatchNorm
from tiny import given


def equation_1(query, key, negatives, temperature):
    total = 0.0
    for q, k in zip(query, key, strict=True):
        above = (q @ k / temperature).exp()
        total = (
            total - (above / (above + sum((q @ n / temperature).exp() for n in negatives))).log()
        )
    return total / len(query)


def test_info_nce_is_equation_1():
    query, key, negatives = gaussian(0, 5, 4), gaussian(1, 5, 4), gaussian(2, 9, 4)
    ours = info_nce(query, key, negatives, temperature=0.3)
    assert_same(ours, equation_1(query, key, negatives, 0.3), (query, key, negatives))


class Body(Encoder):
    """The encoder that the authors' class was run with."""

    dim, grid = 5, (1,)

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh())

    def forward(self, x, *, keep=None, hide=None, blocks=0, tokens=True):
        out = self.body(x)
        return Features(out, out[:, None])


def ours_of(data, prefix) -> dict[str, Tensor]:
    """The authors' state dictionary under our names."""
    found = {k.removeprefix(prefix): v for k, v in data.items() if k.startswith(prefix)}
    return {
        f"encoder.{k}" if k.startswith("body") else k.replace("fc", "head", 1): v
        for k, v in found.items()
    }


@pytest.mark.parametrize("norm_groups", [0, 1])
def test_four_steps_are_those_of_the_authors_class(norm_groups):
    data = load("moco")
    momentum = float(data["momentum"])
    config = MoCoConfig(
        temperature=float(data["temperature"]),
        queue=len(data["queue_start"]),
        momentum=Cosine(momentum, momentum),
        out=4,
        norm_groups=norm_groups,
    )
    method = MoCo(given(Body()), config).double().train()
    start = ours_of(data, "start.")
    method.online.load_state_dict(start)
    method.target.copy.load_state_dict(start)
    method.queue.items.copy_(data["queue_start"])
    parameters = [p for group in method.param_groups() for p in group.params]
    optimizer = torch.optim.SGD(
        parameters,
        lr=float(data["lr"]),
        momentum=float(data["sgd_momentum"]),
        weight_decay=float(data["weight_decay"]),
    )
    for s, images in enumerate(data["images"]):
        clock = Clock(s, 4)
        step = method(batch_of(*images.unbind(1)), clock)
        torch.testing.assert_close(step.total.detach(), data[f"loss_{s}"])
        optimizer.zero_grad()
        step.total.backward()
        gradients = {k: p.grad for k, p in method.online.named_parameters()}
        torch.testing.assert_close(gradients, ours_of(data, f"gradient_{s}."))
        torch.testing.assert_close(
            dict(method.target.copy.state_dict()), ours_of(data, f"key_{s}.")
        )
        method.after_backward(step, clock)
        torch.testing.assert_close(method.queue.items, data[f"queue_{s}"])
        assert method.queue.head == data[f"pointer_{s}"].item()
        optimizer.step()
        method.after_step(clock)
    torch.testing.assert_close(dict(method.online.state_dict()), ours_of(data, "end."))


def test_one_step_is_the_papers_algorithm():
    """Algorithm 1 of He et al., word by word, on a linear encoder and a full queue that wraps."""
    torch.manual_seed(0)
    config = MoCoConfig(
        queue=6, out=3, layers=1, norm_groups=0, momentum=Cosine(0.9, 0.9), temperature=0.07
    )
    method = MoCo(given(Raw(3)), config).double()
    f_q = method.online.head[0]
    weight, bias = f_q.weight.detach().clone(), f_q.bias.detach().clone()
    stored = method.queue.items.double()
    method.queue.items = stored.clone()
    method.queue.head.fill_(4)
    x_q, x_k = gaussian(0, 4, 3).detach(), gaussian(1, 4, 3).detach()

    step = method(batch_of(x_q, x_k), Clock(0, 10))
    q = torch.stack([row / row.norm() for row in x_q @ weight.T + bias])
    k = torch.stack([row / row.norm() for row in x_k @ weight.T + bias])
    torch.testing.assert_close(step.total.detach(), equation_1(q, k, stored, 0.07))
    torch.testing.assert_close(method.queue.items, stored)

    method.after_backward(step, Clock(0, 10))
    expected = stored.clone()
    for i, row in enumerate(k):
        expected[(4 + i) % 6] = row
    torch.testing.assert_close(method.queue.items, expected)
    assert method.queue.head == 2

    with torch.no_grad():
        f_q.weight.add_(1.0)
    method.after_step(Clock(0, 10))
    torch.testing.assert_close(
        method.target.copy.head[0].weight.detach(), 0.9 * weight + 0.1 * (weight + 1)
    )


def test_no_gradient_goes_to_keys_or_queue():
    a, b = gaussian(0, 4, 3), gaussian(1, 4, 3)
    method = MoCo(given(Raw(3)), MoCoConfig(queue=6, out=3)).double()
    step = method(batch_of(a, b), Clock(0, 10))
    assert not step.fresh["keys"].requires_grad
    gradient_a, gradient_b = torch.autograd.grad(step.total, (a, b))
    assert gradient_a.any()
    assert not gradient_b.any()


def test_symmetric_adds_the_loss_with_the_views_exchanged_and_queues_both_keys():
    torch.manual_seed(0)
    method = MoCo(given(Raw(3)), MoCoConfig(queue=16, out=3, symmetric=True)).double()
    a, b = gaussian(0, 4, 3).detach(), gaussian(1, 4, 3).detach()
    step = method(batch_of(a, b), Clock(0, 10))
    with torch.no_grad():
        z_a, z_b = unit(method.online(a)[1]), unit(method.online(b)[1])
        queue = method.queue.items.double()
        expected = equation_1(z_a, z_b, queue, 0.2) + equation_1(z_b, z_a, queue, 0.2)
    torch.testing.assert_close(step.total.detach(), expected)
    method.after_backward(step, Clock(0, 10))
    torch.testing.assert_close(method.queue.items[:8].double(), torch.cat([z_b, z_a]))
    assert method.queue.head == 8


def test_indistinguishable_views_cost_the_logarithm_of_the_candidates():
    method = MoCo(given(Raw(3)), MoCoConfig(queue=16, out=3, norm_groups=0)).double()
    method.queue.items.fill_(3**-0.5)
    method.online.head, method.target.copy.head = nn.Identity(), nn.Identity()
    ones = torch.ones(4, 3, dtype=torch.float64)
    step = method(batch_of(ones, ones), Clock(0, 10))
    torch.testing.assert_close(step.total.item(), math.log(17), rtol=1e-6, atol=0)
    torch.testing.assert_close(step.watch["contrastive_floor"].item(), 1.0, rtol=1e-6, atol=0)


@pytest.mark.parametrize("layers", [1, 2])
def test_the_head_is_the_papers(layers):
    """facebookresearch/moco moco/builder.py: biases, no norm, the encoder's width."""
    head = MoCo(given(Raw(6)), MoCoConfig(layers=layers, queue=8)).online.head
    assert [type(m) for m in head] == [nn.Linear, nn.ReLU] * (layers - 1) + [nn.Linear]
    linears = [m for m in head if isinstance(m, nn.Linear)]
    assert [m.out_features for m in linears] == [6] * (layers - 1) + [128]
    assert all(m.bias is not None for m in linears)


def test_keys_share_statistics_with_other_samples_than_queries_do():
    """Each image meets other images in its norm group as a key than as a query."""
    torch.manual_seed(0)
    method = MoCo(given(Body()), MoCoConfig(queue=8, out=4, norm_groups=4)).double().train()
    x = gaussian(0, 8, 6).detach()
    step = method(batch_of(x, x), Clock(1, 10))
    norms = [m for m in method.modules() if isinstance(m, BatchNorm)]
    assert [m.groups for m in norms] == [4, 4]
    query, key = step.projection[:, 0], step.fresh["keys"][0]
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    for rows in order.chunk(4):
        alone = MoCo(given(Body()), MoCoConfig(queue=8, out=4, norm_groups=1)).double().train()
        alone.load_state_dict(method.state_dict())
        torch.testing.assert_close(key[rows], unit(alone.online(x[rows])[1]).detach())
    assert not torch.allclose(query, key)
