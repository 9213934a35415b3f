from dataclasses import replace

import pytest
import torch

from manyviews import encoders
from manyviews.core import UsageError
from manyviews.methods import catalog
from manyviews.recipes import RECIPES, one_duration
from manyviews.runs import saved
from manyviews.runs.assemble import check_views, resolve
from manyviews.runs.settings import Facts
from manyviews.training.optim import build
from tiny import given

SMALL = Facts(
    source="photos",
    count=900,
    side=28,
    channels=1,
    mean=(0.3,),
    std=(0.3,),
    device="cpu",
    cores=2,
)
LARGE = replace(SMALL, count=100_000, side=400, channels=3, mean=(0.4,) * 3, std=(0.2,) * 3)
GPU = replace(LARGE, device="cuda", cores=16)
MANY = replace(SMALL, channels=5, mean=(0.5,) * 5, std=(0.2, 0.2, 0.0, 0.2, 0.2))
OWN = [name for name in RECIPES if not name.endswith("-imagenet")]


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("facts", [SMALL, LARGE, GPU], ids=["small", "large", "gpu"])
def test_a_saved_recipe_reads_back_exactly(name, facts):
    run = RECIPES[name](facts)
    assert saved.from_yaml(saved.to_yaml(run), name="config.yaml") == run
    assert run.recipe == name


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("facts", [SMALL, MANY, LARGE, GPU], ids=["small", "many", "large", "gpu"])
def test_every_recipe_fits_together_on_any_data_and_machine(name, facts):
    run = resolve(RECIPES[name](facts))
    with torch.device("meta"):
        encoder = encoders.build(run.encoder)
    assert encoder.dim > 0
    assert run.views.global_.size % 4 == 0
    assert 2 * run.data.batch_size <= facts.count


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("facts", [SMALL, MANY], ids=["small", "many"])
def test_every_recipe_builds_its_method_and_optimiser(name, facts):
    run = resolve(RECIPES[name](facts))
    method = catalog.build(run.method, given(encoders.build(run.encoder)))
    check_views(run, method)
    build(method, run.optim, run.data.batch_size)


@pytest.mark.parametrize("facts", [SMALL, MANY, LARGE], ids=["grey", "many", "rgb"])
def test_colours_that_need_rgb_are_planned_for_rgb_alone(facts):
    crops = RECIPES["simclr"](facts).views.global_
    planned = (crops.saturation > 0, crops.hue > 0, crops.grey > 0)
    assert planned == (facts.channels == 3,) * 3
    assert crops.brightness > 0
    assert crops.contrast > 0


def test_a_channel_that_is_the_same_everywhere_does_not_become_infinite():
    assert RECIPES["simclr"](MANY).data.std == (0.2, 0.2, 1.0, 0.2, 0.2)


def test_mean_and_std_have_a_number_a_channel():
    run = RECIPES["simclr"](MANY)
    for name in ("mean", "std"):
        resolve(replace(run, data=replace(run.data, **{name: (0.5,)})))
        wrong = replace(run, data=replace(run.data, **{name: (0.5,) * 3}))
        with pytest.raises(UsageError, match=f"--data.{name} has 3 numbers for --data.channels 5"):
            resolve(wrong)


def test_views_that_a_method_needs_and_the_plan_lacks_are_named():
    run = resolve(RECIPES["mae"](SMALL))
    method = catalog.build(run.method, given(encoders.build(run.encoder)))
    without = replace(run, views=replace(run.views, mask=replace(run.views.mask, ratio=0.0)))
    with pytest.raises(UsageError, match=r"mae needs 1 'mask' a sample; .* Set --views.mask.ratio"):
        check_views(without, method)


def test_a_given_duration_replaces_the_recipes():
    default = RECIPES["simclr"](SMALL)
    given = replace(default, train=replace(default.train, steps=7))
    assert one_duration(given, default).train == replace(default.train, steps=7, minutes=0.0)
    assert one_duration(default, default) == default


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("method: {name: simclrr}", "Did you mean 'simclr'?"),
        ("[1, 2]", "holds no run"),
        ("method: {name: simclr, temprature: 1}", "config.method has no field 'temprature'"),
        ("method: {name: simclr}\nsed: 1", "has no field 'sed'. Did you mean 'seed'?"),
        ("method: {name: simclr}", "lacks 'recipe'"),
    ],
)
def test_a_damaged_config_is_named(text, words):
    with pytest.raises(UsageError, match=words.replace("?", r"\?")):
        saved.from_yaml(text, name="config.yaml")
