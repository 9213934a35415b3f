"""What another batch size changes is said by its rule, and so is what it leaves."""

import pytest

from manyviews.core.settings import override
from manyviews.recipes import RECIPES
from manyviews.runs.facts import typical_facts
from manyviews.runs.scaling import lines


def said(recipe, **changes):
    before = RECIPES[recipe](typical_facts())
    half = {"data.batch_size": before.data.batch_size // 2}
    return lines(override(before, half | changes), override(before, changes)), before


def test_nothing_is_said_of_the_recipes_own_batch():
    run = RECIPES["byol"](typical_facts())
    assert lines(run, run) == []


def test_the_rate_follows_the_batch_where_it_is_tied_to_one():
    found, before = said("simclr")
    peak = before.optim.lr * before.data.batch_size / before.optim.lr_per
    assert f"peak lr {peak / 2:.3g} for {peak:.3g}, by the linear rule" in found[0]
    [first, *_], _ = said("simclr", **{"optim.lr_per": 0, "optim.lr": 0.5})
    assert "peak lr 0.5 as it was" in first
    assert "would give --optim.lr 0.25" in first


def test_a_slow_copy_is_said_to_forget_per_step_and_what_would_not():
    found, before = said("byol")
    [line] = [line for line in found if "momentum" in line]
    start = before.method.momentum.start
    assert f"--method.momentum.start {start**0.5:.5g}" in line
    assert "m^k, for k = " in line


def test_a_temperature_that_changes_does_so_over_a_share_of_training():
    found, before = said("dino")
    [line] = [line for line in found if "teacher-temperature" in line]
    assert line.endswith(
        f"the first {before.method.teacher_temperature.fraction:.0%} of training, at any batch size"
    )


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_has_its_lines(recipe):
    found, _ = said(recipe)
    assert found
    assert all("\n" not in line for line in found)
