"""CAPI against its equations, written with loops, and the authors' clustering (data/README.md)."""

import math
from types import SimpleNamespace

import pytest
import torch
from raw import assert_same, gaussian, load

from manyviews.core import Batch, Clock, Encoder, Features, Given, UsageError
from manyviews.core.schedules import WarmupCosine
from manyviews.methods.masked.capi import CAPI, CAPIConfig
from manyviews.parts.assign import sinkhorn
from manyviews.parts.cross import CrossPredictor

ROWS, COLUMNS, DIM, B, V, K = 3, 4, 6, 3, 2, 5
PLACES = ROWS * COLUMNS
SMALL = {"prototypes": K, "width": 16, "depth": 2, "heads": 2, "predicted": 0.4}


class Tokens(Encoder):
    """Rows of numbers times a matrix; the class token is the sum of what shows."""

    grid, patch, dim = (ROWS, COLUMNS), (1, 1), DIM
    input = SimpleNamespace(shape=(1, PLACES, DIM))

    def __init__(self, *, first=True):
        super().__init__()
        self.first = first
        self.map = torch.nn.Parameter(gaussian(9, DIM, DIM).detach() / 3)

    def forward(self, x, *, keep=None, hide=None, blocks=0, tokens=True):
        rows = x[:, 0]
        if keep is not None:
            rows = rows.gather(1, keep[..., None].expand(-1, -1, DIM))
        made = (rows @ self.map).tanh()
        return Features(made.mean(dim=1), made, (), made.sum(dim=1) if self.first else None)

    def patch_embedding(self):
        return [self.map]


def make(*, first=True, **settings):
    torch.manual_seed(0)
    return CAPI(Given({"image": Tokens(first=first)}), CAPIConfig(**SMALL | settings)).double()


def some_batch():
    g = torch.Generator().manual_seed(2)
    hidden = torch.rand(B, V, PLACES, generator=g).argsort(dim=-1) < 8
    views = gaussian(1, B, V, 1, PLACES, DIM).detach()
    return Batch({"global": views}, torch.tensor([3, 7, 8]), {"global.mask": hidden})


def balanced(scores, *, rounds):
    """Rows [n, K] of one place: columns even, then rows, so many times."""
    q = (scores / 0.06).exp()
    for _ in range(rounds):
        q = q / q.sum(dim=0)
        q = q / q.sum(dim=1, keepdim=True)
    return q


def turned(x, row, column):
    """Pairs of channels of [d], d / 4 of them turned by the row and d / 4 by the column."""
    half = len(x) // 2
    out = list(x)
    for i in range(half):
        j = i % (half // 2)
        turns = 7 * (7e-4 / 7) ** (j / max(1, half // 2 - 1))
        angle = 2 * math.pi * turns * (row if i < half // 2 else column)
        out[i] = x[i] * math.cos(angle) - x[half + i] * math.sin(angle)
        out[half + i] = x[half + i] * math.cos(angle) + x[i] * math.sin(angle)
    return torch.stack(out)


def where(place):
    return place // COLUMNS / (ROWS - 1), place % COLUMNS / (COLUMNS - 1)


def normed(x, weight=1.0):
    return x / (x.square().mean() + 1e-5).sqrt() * weight


def asked(predictor, context, spots, place):
    """What one place is told by [n, D] that stand at spots."""
    x = predictor.mask_token
    for block in predictor.blocks:
        query = block.query.weight @ normed(x, block.norm1.weight)
        keys, values = context @ block.key.weight.T, context @ block.value.weight.T
        found = []
        for head in range(2):
            part = slice(8 * head, 8 * head + 8)
            q = turned(query[part], *where(place))
            k = torch.stack([turned(k[part], *s) for k, s in zip(keys, spots, strict=True)])
            found.append((k @ q / 8**0.5).softmax(0) @ values[:, part])
        x = x + block.out.weight @ torch.cat(found)
        wide = torch.nn.functional.gelu(block.mlp[0].weight @ normed(x, block.norm2.weight))
        x = x + block.mlp[2].weight @ wide
    return normed(x)


@pytest.mark.parametrize("first", [True, False])
def test_losses_and_gradients_are_those_of_the_equations(first):
    method, batch, clock = make(first=first), some_batch(), Clock(4, 10)
    rows = batch.views["global"][:, :, 0].flatten(0, 1)
    hidden = batch.cues["global.mask"].flatten(0, 1)
    unit = torch.nn.functional.normalize((rows @ method.target.copy.map).tanh(), dim=-1)
    scores = unit.detach() @ method.clusters.weight.T + method.clusters.bias
    target = torch.stack([balanced(scores[:, n].detach(), rounds=3) for n in range(PLACES)], dim=1)
    clustering = -(target * (scores / 0.12).log_softmax(-1)).sum(-1).mean()
    wanted, prediction = method._wanted(batch, clock, hidden), 0.0
    for b in range(B * V):
        keep = [n for n in range(PLACES) if not hidden[b, n]]
        seen = (rows[b, keep] @ method.online.map).tanh()
        spots = [where(n) for n in keep]
        if first:
            middle = [(min(axis) + max(axis)) / 2 for axis in zip(*spots, strict=True)]
            seen, spots = torch.cat([seen, seen.sum(0, keepdim=True)]), [*spots, middle]
        for n in wanted[b].tolist():
            made = asked(method.predictor, seen, spots, n)
            direction = torch.nn.functional.normalize(method.head.weight_v, dim=1)
            logits = method.head.weight_g[:, 0] * (direction @ made) / made.norm()
            prediction = prediction - (target[b, n] * (logits / 0.12).log_softmax(0)).sum()
    losses = method(batch, clock).losses
    inputs = [method.clusters.weight, method.clusters.bias]
    assert_same(losses["clustering"], clustering, inputs, rtol=1e-5, atol=1e-8)
    block = method.predictor.blocks[0]
    inputs = [method.online.map, method.head.weight_v, method.predictor.mask_token]
    inputs += [block.key.weight, block.norm2.weight]
    losses = method(batch, clock).losses
    total = prediction / wanted.numel()
    assert_same(losses["prediction"], total, inputs, rtol=1e-5, atol=1e-7)


def test_clusters_are_balanced_and_learn_as_by_the_authors_code():
    saved = load("capi")
    tokens = saved["tokens"]
    weight, bias = (saved[name].requires_grad_() for name in ("weight", "bias"))
    scores = torch.nn.functional.normalize(tokens, dim=-1) @ weight.T + bias
    target = sinkhorn(scores.detach(), temperature=0.06)  # [B, N, K]
    torch.testing.assert_close(target, saved["assigned"], rtol=1e-5, atol=1e-7)
    loss = -(target * (scores / 0.12).log_softmax(-1)).sum(-1).mean()
    torch.testing.assert_close(loss.float(), saved["loss"].float(), rtol=1e-5, atol=0)
    loss.backward()
    for name, found in (("weight", weight.grad), ("bias", bias.grad)):
        torch.testing.assert_close(found, saved[f"g.{name}"], rtol=1e-4, atol=1e-7)
    all_at_once = sinkhorn(scores.detach().flatten(0, 1), temperature=0.06).view_as(target)
    assert (all_at_once - target).abs().max() > 0.01


def test_clusters_can_be_asked_what_share_of_an_image_each_has():
    method, images = make(), gaussian(5, 2, 1, PLACES, DIM).detach()
    found = method.assign(images)
    assert found.shape == (2, K)
    for image, share in zip(images[:, 0], found, strict=True):
        each = []
        for row in image:
            token = (row @ method.target.copy.map).tanh()
            scores = method.clusters.weight @ (token / token.norm()) + method.clusters.bias
            each.append((scores / 0.12).exp() / (scores / 0.12).exp().sum())
        torch.testing.assert_close(share, sum(each) / PLACES)


def test_predicted_places_are_hidden_ones_and_others_each_step():
    method, batch = make(predicted=0.5), some_batch()
    hidden = batch.cues["global.mask"].flatten(0, 1)
    wanted = method._wanted(batch, Clock(4, 10), hidden)
    assert wanted.shape == (B * V, 4)
    assert hidden.gather(1, wanted).all()
    assert all(len(set(row)) == 4 for row in wanted.tolist())
    assert not torch.equal(method._wanted(batch, Clock(5, 10), hidden), wanted)
    assert make(predicted=0.0)._wanted(batch, Clock(4, 10), hidden).shape == (B * V, 1)


def test_a_place_is_predicted_alike_whatever_else_is():
    torch.manual_seed(0)
    predictor = CrossPredictor(DIM, grid=(ROWS, COLUMNS), width=16, depth=2, heads=2).double()
    keep = torch.tensor([[0, 3, 5]])
    tokens = gaussian(4, 1, 3, DIM)
    many = predictor(tokens, keep, torch.tensor([[4, 6, 7]]), class_token=None)
    one = predictor(tokens, keep, torch.tensor([[6]]), class_token=None)
    torch.testing.assert_close(many[:, 1:2], one)


def test_the_teacher_stands_still_at_first_and_then_follows():
    method = make(momentum=WarmupCosine(0.9, 1.0, 0.5, 1.0))
    before = method.target.copy.map.clone()
    with torch.no_grad():
        method.online.map.add_(1.0)
    method.after_step(Clock(0, 10))
    assert torch.equal(method.target.copy.map, before)
    method.after_step(Clock(5, 10))
    torch.testing.assert_close(method.target.copy.map, before + 0.1)


def test_clusters_and_patch_embedding_have_rates_of_their_own():
    method = make()
    rest, stem, clusters = method.param_groups()
    assert [group.lr_scale for group in (rest, stem, clusters)] == [1.0, 0.2, 0.5]
    assert stem.params == [method.online.map]
    assert not clusters.decay
    assert {id(p) for p in clusters.params} == {id(p) for p in method.clusters.parameters()}


def test_a_width_that_heads_cannot_share_is_refused():
    with pytest.raises(UsageError, match="predictor width of 20 cannot be split over 2 heads"):
        make(width=20)
