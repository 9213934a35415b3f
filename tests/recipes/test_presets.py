"""Presets of views change crops as they say and nothing else."""

from dataclasses import replace

import pytest

from manyviews.core.errors import UsageError
from manyviews.core.settings import check
from manyviews.recipes import RECIPES
from manyviews.recipes.presets import PRESETS, preset
from manyviews.runs import saved
from manyviews.runs.facts import typical_facts
from manyviews.views.image.oriented import Oriented
from manyviews.views.plan import Crops


def run_of(recipe):
    return RECIPES[recipe](replace(typical_facts(), device="cpu", cores=8))


def test_images_without_an_up_are_flipped_and_turned():
    made = preset(run_of("simclr"), "no-up").views.global_
    assert isinstance(made, Oriented)
    assert (made.flip_vertical, made.turn, made.rotate) == (0.5, 0.75, 0.0)
    before = run_of("simclr").views.global_
    assert (made.hue, made.scale, made.blur) == (before.hue, before.scale, before.blur)


def test_up_is_the_recipe_itself():
    assert preset(run_of("simclr"), "up") == run_of("simclr")


@pytest.mark.parametrize("name", ["grey", "microscopy", "documents"])
def test_no_colour_is_changed_where_colour_means_something(name):
    made = preset(run_of("simclr"), name).views.global_
    assert (made.saturation, made.hue, made.grey) == (0.0, 0.0, 0.0)


def test_light_is_changed_no_more_than_each_preset_says():
    run = run_of("simclr-imagenet")
    before = run.views.global_
    wanted = {"grey": (0.4, 0.4), "microscopy": (0.2, 0.2), "documents": (before.brightness,) * 2}
    assert before.brightness == before.contrast == 0.8
    for name, light in wanted.items():
        made = preset(run, name).views.global_
        assert (made.brightness, made.contrast) == light
        assert (made.jitter, made.sigma) == (before.jitter, before.sigma)
    assert preset(run, "grey").views.global_.blur == before.blur
    assert preset(run, "microscopy").views.global_.blur == (0.1,)
    assert preset(run, "documents").views.global_.blur == (0.2,)


def test_what_is_under_a_microscope_has_no_up():
    made = preset(run_of("simclr"), "microscopy").views.global_
    assert isinstance(made, Oriented)
    assert (made.flip_vertical, made.turn) == (0.5, 0.75)


def test_all_families_of_crops_are_changed():
    views = preset(run_of("dino"), "microscopy").views
    for crops in (views.global_, views.local):
        assert isinstance(crops, Oriented)
        assert (crops.hue, crops.grey, crops.turn) == (0.0, 0.0, 0.75)
        assert all(p <= 0.1 for p in crops.blur)


def test_documents_are_never_flipped_nor_turned():
    made = preset(run_of("simclr"), "documents").views.global_
    assert type(made) is Crops
    assert made.flip == 0.0
    assert made.scale == (0.5, 1.0)


def test_a_recipe_that_has_less_of_something_keeps_that():
    mae = preset(run_of("mae"), "microscopy").views.global_
    assert (mae.jitter, mae.blur, mae.mask.ratio) == (0.0, (0.0,), 0.75)
    local = run_of("dino").views.local
    assert preset(run_of("dino"), "documents").views.local.scale == local.scale


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("recipe", ["simclr", "dino", "mae", "byol-imagenet"])
def test_a_run_with_a_preset_is_kept_and_read_again(recipe, name):
    run = preset(run_of(recipe), name)
    check(run)
    assert saved.from_yaml(saved.to_yaml(run), name="config.yaml") == run


def test_what_has_no_crops_is_refused_and_so_is_a_name_that_is_none():
    with pytest.raises(UsageError, match=r"--views\.preset is for crops of images"):
        preset(run_of("clip-order"), "no-up")
    with pytest.raises(UsageError, match=r"no preset 'microscope' of views\. Did you mean 'micros"):
        preset(run_of("simclr"), "microscope")
