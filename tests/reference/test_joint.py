"""A mixture is the weighted sum of its methods, each of which is as it would be alone.

What fails if a bug is planted: a weight of another method, or none,
`test_losses_and_gradients_are_the_weighted_sums`; what one method made stored by another,
`test_hooks_are_those_of_each_method`; the encoder in two groups,
`test_a_shared_parameter_is_in_one_group`; a hook of the first alone,
`test_each_method_is_called_in_every_hook`; the last one's encoder or floor,
`test_what_is_kept_and_watched_is_the_first_ones`.
"""

import copy

import pytest
import torch

from manyviews.core import Clock, Given, Step, UsageError, settings
from manyviews.core.settings import struct
from manyviews.methods.catalog import JointConfig, build
from manyviews.methods.clustering.swav import SwAVConfig
from manyviews.methods.contrastive.moco import MoCoConfig
from manyviews.methods.contrastive.simclr import SimCLRConfig
from manyviews.methods.distillation.dino import DINOConfig
from manyviews.methods.distillation.simsiam import SimSiamConfig
from manyviews.methods.joint import Joint
from manyviews.methods.pretext.rotation import RotationConfig
from manyviews.methods.redundancy.barlow import BarlowTwinsConfig
from manyviews.methods.redundancy.tico import TiCoConfig
from manyviews.recipes import RECIPES
from manyviews.runs import saved
from manyviews.runs.facts import typical_facts
from tiny import TinyConv, batch_for, given, shrink

CLOCK = Clock(2, 10)


def mixed(weights, **methods):
    config = JointConfig(mixed=struct("Mixed", methods), weights=weights)
    torch.manual_seed(0)
    return build(shrink(config), given(TinyConv())).double().train()


def test_losses_and_gradients_are_the_weighted_sums():
    joint = mixed((0.5, 3.0), one=SimCLRConfig(), two=BarlowTwinsConfig())
    batch = batch_for(joint, dtype=torch.float64)
    encoder = [p for p in joint.encoder.parameters() if p.requires_grad]
    step = joint(batch, CLOCK)
    alone = {name: method(batch, CLOCK) for name, method in joint.each.items()}
    expected = {"one.nt_xent": 0.5, "two.barlow_twins": 3.0}
    assert set(step.losses) == set(expected)
    for name, weight in expected.items():
        method, _, loss = name.partition(".")
        torch.testing.assert_close(step.losses[name], weight * alone[method].losses[loss])
    found = torch.autograd.grad(step.total, encoder)
    one, two = (torch.autograd.grad(alone[n].total, encoder) for n in ("one", "two"))
    for mine, a, b in zip(found, one, two, strict=True):
        torch.testing.assert_close(mine, 0.5 * a + 3.0 * b)


def test_hooks_are_those_of_each_method():
    joint = mixed((1.0, 1.0), moco=MoCoConfig(), tico=TiCoConfig())
    batch = batch_for(joint, dtype=torch.float64)
    alone = {name: copy.deepcopy(method) for name, method in joint.each.items()}
    for method in (joint, *alone.values()):
        method.after_backward(method(batch, CLOCK), CLOCK)
        with torch.no_grad():
            method.encoder.body[0].weight.add_(0.1)
        method.after_step(CLOCK)
    assert joint.each["tico"].covariance.any()
    assert joint.each["moco"].queue.head == 8
    for name, method in alone.items():
        own = joint.each[name].state_dict()
        for key, value in method.state_dict().items():
            # The norms of the shared encoder have seen the views of both.
            if "running" not in key and "num_batches" not in key:
                torch.testing.assert_close(own[key], value, msg=lambda m, k=key: f"{k}: {m}")


def test_a_shared_parameter_is_in_one_group():
    joint = mixed((1.0, 1.0), one=SimSiamConfig(), two=SwAVConfig())
    grouped = [id(p) for group in joint.param_groups() for p in group.params]
    assert sorted(grouped) == sorted(id(p) for p in joint.parameters() if p.requires_grad)
    rules = {(group.fixed_lr, group.frozen_until) for group in joint.param_groups()}
    assert (True, 0.0) in rules  # SimSiam's predictor
    assert {x.data_ptr() for x in joint.each["one"].encoder.parameters()} == {
        x.data_ptr() for x in joint.each["two"].encoder.parameters()
    }


def test_it_needs_what_all_need_and_has_a_limit_where_all_have_one():
    both = mixed((1.0, 1.0), one=BarlowTwinsConfig(), two=TiCoConfig())
    assert (both.needs, both.most) == ({"global": 2}, {"global": 2})
    one = mixed((1.0, 1.0), one=BarlowTwinsConfig(), two=SwAVConfig())
    assert (one.needs, one.most) == ({"global": 2, "local": 0}, {})
    for pair in ((RotationConfig(), TiCoConfig()), (TiCoConfig(), RotationConfig())):
        few = mixed((1.0, 1.0), one=pair[0], two=pair[1])
        assert (few.needs, few.most) == ({"global": 2}, {"global": 2})


def test_a_mixture_is_saved_with_the_kind_of_every_method():
    run = RECIPES["joint"](typical_facts())
    text = saved.to_yaml(run)
    assert "simclr: {is: simclr, temperature: 0.2" in text
    again = saved.from_yaml(text, name="config.yaml")
    assert again == run
    assert isinstance(again.method.mixed.simclr, SimCLRConfig)
    changed = settings.override(run, {"method.mixed.simclr.temperature": 0.5})
    assert changed.method.mixed.simclr.temperature == 0.5
    with pytest.raises(UsageError, match=r"config\.method\.mixed\.simclr is of the kind 'simc'"):
        saved.from_yaml(text.replace("is: simclr", "is: simc"), name="config.yaml")


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 1.0, 1.0)])
def test_as_many_weights_as_methods_are_wanted(weights):
    with pytest.raises(UsageError, match=r"--weights is .*; wanted one number for each of the met"):
        settings.check(JointConfig(weights=weights))


def test_a_weight_below_zero_and_one_of_a_method_inside_are_refused():
    with pytest.raises(UsageError, match=r"--weights is 1 -1; wanted 0 or more"):
        settings.check(JointConfig(weights=(1.0, -1.0)))
    inner = struct("Mixed", {"simclr": SimCLRConfig(temperature=0.0)})
    with pytest.raises(UsageError, match=r"--mixed\.simclr\.temperature is 0"):
        settings.check(JointConfig(mixed=inner, weights=(1.0,)))


def test_without_a_way_to_build_there_is_one_clear_line():
    with pytest.raises(UsageError, match=r"Nobody said how to build a method of SimCLRConfig"):
        Joint(Given({"image": TinyConv()}), JointConfig())


def test_each_method_is_called_in_every_hook(monkeypatch):
    joint = mixed((1.0, 1.0), one=SimCLRConfig(), two=BarlowTwinsConfig())
    heard = []
    for name, method in joint.each.items():
        for hook in ("before_epoch", "after_step"):
            monkeypatch.setattr(method, hook, lambda *a, who=(name, hook): heard.append((*who, a)))

    def embed_all(f, *, share=False):
        raise AssertionError

    joint.before_epoch(CLOCK, embed_all)
    joint.after_step(CLOCK)
    assert heard == [
        *((name, "before_epoch", (CLOCK, embed_all)) for name in ("one", "two")),
        *((name, "after_step", (CLOCK,)) for name in ("one", "two")),
    ]


def test_each_method_stores_what_it_made_and_nothing_else(monkeypatch):
    joint = mixed((1.0, 1.0), one=SimCLRConfig(), two=BarlowTwinsConfig())
    stored = {}

    def keeping(name):
        return lambda step, clock: stored.update({name: dict(step.fresh)})

    for name, method in joint.each.items():
        monkeypatch.setattr(method, "after_backward", keeping(name))
    a, b, c = torch.arange(3.0)
    joint.after_backward(Step({}, {}, fresh={"one.keys": a, "two.keys": b, "two.index": c}), CLOCK)
    assert stored == {"one": {"keys": a}, "two": {"keys": b, "index": c}}


def test_what_is_kept_and_watched_is_the_first_ones():
    """Of DINO's its slow encoder; SimCLR and MoCo both have a floor."""
    for first, second in ((DINOConfig(), SimCLRConfig()), (SimCLRConfig(), MoCoConfig())):
        joint = mixed((1.0, 1.0), one=first, two=second)
        one, two = joint.each.values()
        assert joint.encoder is one.encoder
        assert isinstance(first, SimCLRConfig) or one.encoder is not two.encoder
        batch = batch_for(joint, dtype=torch.float64)
        step, alone, other = (method(batch, CLOCK) for method in (joint, one, two))
        for name, value in {**other.watch, **alone.watch}.items():
            torch.testing.assert_close(step.watch[name], value)
        torch.testing.assert_close(step.projection, alone.projection)
        torch.testing.assert_close(dict(step.embedding), dict(alone.embedding))
