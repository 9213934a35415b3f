"""No setting of a recipe, and no rate that follows from them, changes unnoticed."""

from pathlib import Path

import pytest
import yaml
from write_recipes import HERE, pinned

from manyviews.recipes import RECIPES

COMMAND = "PYTHONPATH=src python tests/golden/write_recipes.py"


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_is_what_it_was(recipe):
    path = HERE / f"{recipe}.yaml"
    assert path.exists(), f"{recipe} is not pinned. Run: {COMMAND} {recipe}"
    before, now = yaml.safe_load(path.read_text()), pinned(recipe)
    advice = f"If that is meant, run: {COMMAND} {recipe}"
    for device in ("cpu", "cuda"):
        assert now[device]["config"] == before[device]["config"], advice
        wanted = [pytest.approx(moment, rel=1e-9) for moment in before[device]["rates"]]
        assert now[device]["rates"] == wanted, advice


def test_what_is_pinned_is_a_recipe():
    assert {Path(path).stem for path in HERE.glob("*.yaml")} <= set(RECIPES)
