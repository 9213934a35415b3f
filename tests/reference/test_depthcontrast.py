"""DepthContrast against numbers of the authors' code (data/README.md)."""

import math

import pytest
import torch
from raw import Raw, load
from torch import nn

from manyviews.core import Batch, Clock, Given, UsageError
from manyviews.core.settings import check
from manyviews.methods.points import depthcontrast as module
from manyviews.methods.points.depthcontrast import FORMATS, DepthContrast, DepthContrastConfig

SAVED = load("depthcontrast")
CLOSE = {"rtol": 1e-10, "atol": 1e-12}
PARTS = ("points_to_points", "voxels_to_voxels", "points_to_voxels", "voxels_to_points")
"""In the order in which the authors' class returns them."""


def make(**settings):
    torch.manual_seed(0)
    encoders = {name: Raw(5) for name in FORMATS}
    config = DepthContrastConfig(queue=12, out=5, norm_groups=0, **settings)
    return DepthContrast(Given(encoders, 11), config).double()


def bare(**settings):
    """Without heads: views are the embeddings that the authors' class is given."""
    method = make(**settings)
    for name in FORMATS:
        method.online[name].head = nn.Identity()
        method.target.copy[name].head = nn.Identity()
        method.queues[name].items.copy_(SAVED[f"{name}_start"])
    return method


def batch_of(points, voxels):
    views = {"points": torch.stack(points, dim=1), "voxels": torch.stack(voxels, dim=1)}
    return Batch(views, torch.arange(len(points[0])))


def saved(k):
    pairs = [[SAVED[f"{n}_{what}_{k}"] for what in ("query", "key")] for n in FORMATS]
    return batch_of(*pairs)


def test_four_steps_are_those_of_the_authors_class():
    method = bare(within=0.7, across=0.3)
    for k in range(4):
        batch = saved(k)
        for view in batch.views.values():
            view.requires_grad_()
        step = method(batch, Clock(k, 4))
        torch.testing.assert_close(step.total.detach(), SAVED[f"loss_{k}"], **CLOSE)
        parts = torch.stack([step.losses[name].detach() for name in PARTS])
        weights = torch.tensor([0.7, 0.7, 0.3, 0.3], dtype=torch.float64)
        torch.testing.assert_close(parts, weights * SAVED[f"parts_{k}"], **CLOSE)
        step.total.backward()
        for name in FORMATS:
            found = batch.views[name].grad
            torch.testing.assert_close(found[:, 0], SAVED[f"{name}_gradient_{k}"], **CLOSE)
            assert not found[:, 1].any()  # keys want none
        method.after_backward(step, Clock(k, 4))
        for name in FORMATS:
            expected = SAVED[f"{name}_queue_{k}"]
            torch.testing.assert_close(method.queues[name].items, expected, rtol=0, atol=1e-7)
            method.queues[name].items.copy_(expected)


@pytest.mark.parametrize(
    ("settings", "left"),
    [({"across": 0.0}, PARTS[:2]), ({"within": 0.0}, PARTS[2:]), ({}, PARTS)],
)
def test_a_weight_of_nothing_leaves_its_losses_out(settings, left):
    step = bare(**settings)(saved(0), Clock(0, 4))
    assert sorted(step.losses) == sorted(left)
    for name in left:
        expected = 0.5 * SAVED["parts_0"][PARTS.index(name)]
        torch.testing.assert_close(step.losses[name].detach(), expected, **CLOSE)


def test_keys_come_from_slow_copies_of_both_branches():
    method = make(momentum=DepthContrastConfig().momentum)
    with torch.no_grad():
        for p in method.target.copy.parameters():
            p.mul_(1.5)
    step = method(saved(1), Clock(0, 4))
    for name in FORMATS:
        slow = method.target.copy[name](saved(1).views[name][:, 1])[1]
        expected = nn.functional.normalize(slow, dim=1)
        torch.testing.assert_close(step.fresh[name], expected, **CLOSE)
    fast = method.online["points"](saved(1).views["points"][:, 1])[1]
    assert not torch.allclose(step.fresh["points"], nn.functional.normalize(fast, dim=1))


def test_heads_have_the_authors_layers():
    """configs/point_vox_template.yaml: 512-512-128 and 256-256-128, without norms."""
    encoders = {"points": Raw(512), "voxels": Raw(256)}
    method = DepthContrast(Given(encoders, 11), DepthContrastConfig(queue=16))
    for name, wide in (("points", 512), ("voxels", 256)):
        head = method.online[name].head
        assert [type(layer) for layer in head] == [nn.Linear, nn.ReLU, nn.Linear]
        assert [tuple(layer.weight.shape) for layer in head[::2]] == [(wide, wide), (128, wide)]
        assert all(layer.bias is not None for layer in head[::2])


def test_chance_is_at_the_floor():
    method = bare()
    apart = torch.eye(5, dtype=torch.float64)
    with torch.no_grad():
        for name in FORMATS:
            method.queues[name].items.copy_(apart[4].expand(12, 5))
    views = [apart[[0]], apart[[1]]]  # nothing is like anything
    step = method(batch_of(views, views), Clock(0, 4))
    assert step.watch["contrastive_floor"].item() == pytest.approx(1.0)
    assert step.total.item() == pytest.approx(2 * math.log(13))


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(UsageError, match=r"within is 0.*wanted a number above 0 for it or for ac"):
        check(DepthContrastConfig(within=0.0, across=0.0))


def test_the_slow_copies_follow_after_the_step():
    method = make()
    before = {k: v.clone() for k, v in method.target.copy.named_parameters()}
    with torch.no_grad():
        for p in method.online.parameters():
            p.add_(1.0)
    method.after_step(Clock(0, 4))
    for name, p in method.target.copy.named_parameters():
        torch.testing.assert_close(p, before[name] + 0.001, **CLOSE)


def test_keys_of_both_formats_are_in_another_order_at_each_step(monkeypatch):
    seen = []
    monkeypatch.setattr(module, "shuffled", lambda f, x, *, seed: seen.append(seed) or f(x))
    encoders = {name: Raw(5) for name in FORMATS}
    config = DepthContrastConfig(queue=12, out=5, norm_groups=2)
    method = DepthContrast(Given(encoders, 11), config).double()
    for k in (3, 4):
        method(saved(0), Clock(k, 9))
    assert seen == [3, 3, 4, 4]
