"""Sonata by loops over places, with the assignment as the authors write it."""

import math
from itertools import product

import pytest
import torch
from raw import Raw
from torch import nn

from manyviews.core import Batch, Clock, Features, Given, UsageError
from manyviews.core.schedules import Ramp
from manyviews.methods.points.sonata import Sonata, SonataConfig
from manyviews.parts.correspondence import around
from manyviews.parts.counted import shuffles

CLOSE = {"rtol": 1e-8, "atol": 1e-10}
B, N, D, P = 3, 10, 4, 6
RADIUS = 0.35
VIEWS = {"global": 2, "masked": 2, "part": 3}


class Tokens(Raw):
    """Each point's features are a linear layer of the rest of its columns."""

    grid = (N,)

    def __init__(self, dim):
        super().__init__(dim)
        self.layer = nn.Linear(dim, dim)

    def forward(self, x, *, keep=None, hide=None, blocks=0, tokens=True):
        assert tokens
        z = self.layer(x[..., 3:])
        return Features(z.amax(dim=1), z)


def make(**settings):
    torch.manual_seed(0)
    told = {"hidden": 8, "bottleneck": 5, "prototypes": 7, "places": P, "radius": RADIUS}
    method = Sonata(Given({"points": Tokens(D)}, 11), SonataConfig(**told | settings)).double()
    with torch.no_grad():  # or the teacher would say what the student says
        for name, p in method.target.copy.named_parameters():
            if not name.endswith("weight_g"):  # the length of prototypes, which stays 1
                p.add_(0.3 * torch.randn_like(p))
    return method


def batch(seed=0):
    g = torch.Generator().manual_seed(seed)
    views, cues = {}, {}
    for name, count in VIEWS.items():
        origin = torch.rand(B, count, N, 3, generator=g)
        if name == "part":
            origin = origin * 0.4  # a corner of the cloud
        features = torch.randn(B, count, N, D, generator=g, dtype=torch.float64)
        views[name] = torch.cat([origin.double(), features], dim=3)
        cues[f"{name}.origin"] = origin
    return Batch(views, torch.tensor([5, 9, 2]), cues)


def head(branch, name, x):
    """Unit vectors times unit prototypes, by hand."""
    one = branch[name]
    x = one.mlp[2](nn.functional.gelu(one.mlp[0](x)))
    weight = one.prototypes.weight_v
    return (x / x.norm()) @ (weight / weight.norm(dim=1, keepdim=True)).T


def sinkhorn(scores, temperature):
    """Pointcept/Pointcept pointcept/models/sonata/sonata_v1m1_base.py: rows, then columns."""
    q = (scores / temperature).exp().T
    q = q / q.sum()
    k, n = q.shape
    for _ in range(3):
        q = q / q.sum(dim=1, keepdim=True) / k
        q = q / q.sum(dim=0, keepdim=True) / n
    return (q * n).T


def ball(tokens, origin, place):
    """The mean of tokens less than the radius from a place, or None."""
    near = [i for i in range(N) if math.dist(origin[i].tolist(), place.tolist()) < RADIUS]
    return tokens[near].mean(dim=0) if near else None


def expected(method, given, clock, name, teachers, branch):
    """The mean over whole views of that over views of that over a view's places."""
    order = shuffles(given.index, count=N, step=clock.step, branch=branch).argsort(dim=1)[:, :P]
    student, teacher = method.online, method.target.copy
    temperature = method.config.teacher_temperature.at(clock)
    means = []
    for t in teachers:
        rows, targets, where = [], [], []
        for b, v in product(range(B), range(VIEWS[name])):
            mine = student["encoder"].layer(given.views[name][b, v, :, 3:])
            theirs = teacher["encoder"].layer(given.views["global"][b, t, :, 3:])
            origin = given.cues[f"{name}.origin"][b, v]
            for i in order[b].tolist():
                taught = ball(theirs, given.cues["global.origin"][b, t], origin[i])
                if taught is not None:
                    rows.append(head(student, name, ball(mine, origin, origin[i])))
                    targets.append(head(teacher, name, taught))
                    where.append((b, v))
        assert 0 < len(rows) < B * VIEWS[name] * P  # or nothing would be left out
        target = sinkhorn(torch.stack(targets), temperature).detach()
        each = -(target * (torch.stack(rows) / 0.1).log_softmax(dim=1)).sum(dim=1)
        views = [
            torch.stack([e for e, at in zip(each, where, strict=True) if at == view]).mean()
            for view in dict.fromkeys(where)
        ]
        means.append(torch.stack(views).sum() / (B * VIEWS[name]))
    return 0.5 * torch.stack(means).mean()


def gradients(module):
    return {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}


def test_both_losses_and_their_gradients_are_loops_over_places():
    method, given, clock = make(), batch(), Clock(3, 100)
    step = method(given, clock)
    wanted = {
        "masked": expected(method, given, clock, "masked", (0, 1), 0),
        "part": expected(method, given, clock, "part", (0,), 1),
    }
    for name, loss in wanted.items():
        torch.testing.assert_close(step.losses[name], loss, **CLOSE)
    step.total.backward()
    mine = gradients(method.online)
    method.zero_grad()
    sum(wanted.values()).backward()
    assert len(mine) == 12  # the encoder's layer, and of each head two layers and prototypes
    torch.testing.assert_close(mine, gradients(method.online), **CLOSE)
    assert all(p.grad is None for p in method.target.parameters())
    pooled = method.target.copy["encoder"].layer(given.views["global"][..., 3:]).amax(dim=2)
    torch.testing.assert_close(step.embedding["points"], pooled)


def test_small_views_learn_from_the_first_whole_view_alone():
    method, given = make(), batch()
    before = method(given, Clock(0, 9)).losses
    given.views["global"][:, 1, :, 3:] += 1.0
    after = method(given, Clock(0, 9)).losses
    assert torch.equal(before["part"], after["part"])
    assert not torch.equal(before["masked"], after["masked"])


def test_places_that_no_whole_view_has_teach_nothing():
    method, given = make(), batch()
    given.cues["part.origin"] += 9.0
    step = method(given, Clock(0, 9))
    assert step.losses["part"] == 0
    step.total.backward()
    assert all(p.grad.isfinite().all() for p in method.online.parameters() if p.grad is not None)
    assert all(value.isfinite() for value in step.watch.values())


def test_the_teacher_is_sharper_at_first():
    soft = make(teacher_temperature=Ramp(0.04, 0.4, 0.5))
    entropies = [soft(batch(), Clock(step, 10)).watch["target_entropy"].item() for step in (0, 9)]
    assert entropies[0] < entropies[1]


def test_what_is_around_a_place_is_the_mean_of_a_ball():
    g = torch.Generator().manual_seed(0)
    tokens, origin = torch.randn(2, 3, N, D, generator=g), torch.rand(2, 3, N, 3, generator=g)
    places = torch.rand(2, 3, 4, 3, generator=g)
    places[0, 0, 0] += 5
    mean, there = around(tokens, origin, places, radius=RADIUS)
    for b, v, p in product(range(2), range(3), range(4)):
        wanted = ball(tokens[b, v], origin[b, v], places[b, v, p])
        assert bool(there[b, v, p]) == (wanted is not None)
        wanted = torch.zeros(D) if wanted is None else wanted
        torch.testing.assert_close(mean[b, v, p], wanted)
    assert not there.all()


def test_an_encoder_without_a_token_for_each_point_is_refused():
    given = batch()
    given.cues["masked.origin"] = torch.zeros(B, 2, N + 1, 3)
    with pytest.raises(UsageError, match="a token for each of 11 points; the encoder has 10"):
        make()(given, Clock(0, 4))


def test_a_cloud_s_prototypes_are_the_mean_of_its_points():
    method, clouds = make(), batch().views["global"][:, 0]
    found = method.assign(clouds)
    for cloud, shares in zip(clouds, found, strict=True):
        tokens = method.target.copy["encoder"](cloud[None]).tokens[0]
        wanted = [
            (method.target.copy["masked"](token) / method.config.teacher_temperature.end).softmax(0)
            for token in tokens
        ]
        torch.testing.assert_close(shares, torch.stack(wanted).mean(dim=0).to(shares))
