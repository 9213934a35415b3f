import copy

import pytest
import torch
from torch import nn

from manyviews.core import Clock
from manyviews.core.schedules import Cosine
from manyviews.parts.branch import Branch
from manyviews.parts.heads import apart, mlp
from manyviews.parts.norm import BatchNorm
from manyviews.parts.queue import Queue
from manyviews.parts.targets import EMA
from tiny import TinyConv, TinyViT


def test_a_queue_starts_with_unit_vectors_at_its_first_row():
    queue = Queue(7, 3)
    torch.testing.assert_close(queue.items.norm(dim=1), torch.ones(7))
    assert queue.head == 0


@pytest.mark.parametrize("sizes", [[2, 2, 2], [3, 4, 1], [7], [11], [1, 15]])
def test_a_queue_holds_the_last_rows_pushed(sizes):
    queue, size = Queue(5, 1), 5
    history = queue.items.flatten().tolist()
    value = 100.0
    for count in sizes:
        rows = [value + i for i in range(count)]
        queue.push(torch.tensor(rows).view(-1, 1))
        history += rows
        value += 100
    assert sorted(queue.items.flatten().tolist()) == sorted(history[-size:])
    oldest = queue.items.flatten().roll(-int(queue.head)).tolist()
    assert oldest == history[-size:]


def test_a_queue_is_saved_with_its_place():
    queue = Queue(5, 2)
    queue.push(torch.ones(3, 2))
    other = Queue(5, 2)
    other.load_state_dict(queue.state_dict())
    for q in (queue, other):
        q.push(torch.full((3, 2), 2.0))
    assert torch.equal(queue.items, other.items)


def test_a_queue_keeps_no_graph_and_full_precision():
    queue = Queue(5, 2)
    queue.push(torch.ones(2, 2, dtype=torch.bfloat16, requires_grad=True))
    assert queue.items.dtype == torch.float32
    assert not queue.items.requires_grad


def test_an_ema_runs_in_train_mode_without_gradient():
    source = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    target = EMA(source, Cosine(0.9, 0.9)).train()
    out = target(torch.randn(8, 3) + 5)
    assert not out.requires_grad
    torch.testing.assert_close(out.mean(dim=0), torch.zeros(3), atol=1e-5, rtol=0)
    assert target.copy[1].num_batches_tracked == 1
    assert source[1].num_batches_tracked == 0


def test_an_ema_follows_the_momentum_of_the_clock():
    source = nn.Linear(1, 1, bias=False)
    target = EMA(source, Cosine(0.8, 1.0))
    old = target.copy.weight.clone()
    with torch.no_grad():
        source.weight.add_(1.0)
    target.follow(source, Clock(0, 10))
    torch.testing.assert_close(target.copy.weight, old + 0.2)
    target.follow(source, Clock(10, 10))
    torch.testing.assert_close(target.copy.weight, old + 0.2)


def test_a_branch_gives_features_and_the_heads_output_and_passes_tokens_on():
    branch = Branch(TinyViT(), nn.Linear(16, 4))
    x = torch.randn(2, 3, 16, 16)
    features, out = branch(x, keep=torch.arange(5).expand(2, 5), blocks=1)
    assert features.tokens.shape == (2, 5, 16)
    assert len(features.hidden) == 1
    assert torch.equal(out, branch.head(features.pooled))


def one_by_one(head, views):
    return torch.stack([head(view) for view in views.unbind(1)], dim=1)


HEADS = {
    "with norms": lambda: mlp([3, 8, 8, 5], bias=False, last_norm="full"),
    "without": lambda: mlp([3, 8, 5], norm=False),
    "of one layer": lambda: nn.Linear(3, 5),
    "norm inside": lambda: nn.Sequential(nn.Sequential(nn.Linear(3, 5), BatchNorm(5)), nn.ReLU()),
}


@pytest.mark.parametrize("name", HEADS)
def test_views_apart_are_one_call_for_each_view(name):
    torch.manual_seed(0)
    head = HEADS[name]().double().train()
    other = copy.deepcopy(head)
    views = torch.randn(6, 3, 3).double() * torch.tensor([1.0, 5.0, 0.2]).view(1, 3, 1)
    views.requires_grad_()
    weight = torch.randn(6, 3, 5).double()
    mine, plain = apart(head, views), one_by_one(other, views)
    torch.testing.assert_close(mine, plain)
    wanted = torch.autograd.grad((plain * weight).sum(), [views, *other.parameters()])
    torch.testing.assert_close(
        torch.autograd.grad((mine * weight).sum(), [views, *head.parameters()]), wanted
    )
    for (name, mine), plain in zip(head.named_buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(mine, plain, msg=name)


def test_views_apart_cost_one_product_for_a_weight():
    head = mlp([3, 4, 4, 4], bias=False, bias_last=False)
    with torch.profiler.profile(acc_events=True) as profile:
        apart(head, torch.randn(6, 2, 3)).square().sum().backward()
    products = [event for event in profile.events() if event.name == "aten::mm"]
    assert len(products) == 3 + 3 + 2  # forward, weights, inputs of all but the first


def test_a_branch_encodes_views_apart():
    torch.manual_seed(0)
    branch = Branch(TinyConv(), mlp([16, 8, 4])).train()
    other = copy.deepcopy(branch)
    views = torch.randn(5, 2, 3, 16, 16)
    views[:, 1] *= 3
    pooled, out = branch.apart(views)
    plain = [other(view) for view in views.unbind(1)]
    torch.testing.assert_close(pooled, torch.stack([f.pooled for f, _ in plain], dim=1))
    torch.testing.assert_close(out, torch.stack([z for _, z in plain], dim=1))
    for mine, theirs in zip(branch.buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize(
    ("last_norm", "weight", "bias"),
    [("full", True, True), ("scale", True, False), ("plain", False, False)],
)
def test_the_last_norm_has_what_its_name_says(last_norm, weight, bias):
    head = mlp([3, 5, 2], last_norm=last_norm, bias=False, bias_last=False)
    assert [type(m) for m in head] == [nn.Linear, BatchNorm, nn.ReLU, nn.Linear, BatchNorm]
    assert (head[-1].weight is not None, head[-1].bias is not None) == (weight, bias)
    assert head[0].bias is head[3].bias is None


def test_one_pair_of_sizes_is_one_layer():
    assert [type(m) for m in mlp([3, 2])] == [nn.Linear]
