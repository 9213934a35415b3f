"""Tables whose things are imported when they are asked for."""

import subprocess
import sys

import pytest

from manyviews.core.lazy import Lazy
from manyviews.recipes import RECIPES


def test_a_thing_is_imported_when_it_is_asked_for() -> None:
    table: Lazy[object] = Lazy("manyviews", {"nearest": "core.settings:nearest"})

    from manyviews.core.settings import nearest

    assert table["nearest"] is nearest
    assert list(table) == ["nearest"]
    assert table.module("nearest") == "core.settings"
    with pytest.raises(KeyError):
        table["other"]


def test_a_thing_can_be_put_in_and_taken_out() -> None:
    table: Lazy[object] = Lazy("manyviews", {"nearest": "core.settings:nearest"})

    table["own"] = pytest
    assert table["own"] is pytest
    assert len(table) == 2
    assert table.module("own") == ""
    del table["own"]
    assert "own" not in table


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_where_its_table_says_and_has_its_own_words(name: str) -> None:
    doc = RECIPES[name].__doc__ or ""
    assert RECIPES.about(name) == doc.strip().partition("\n")[0] != ""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["list", "recipes"], 0), (["train", "--help"], 0), (["train", "simlcr", "--data", "x"], 2)],
)
def test_what_needs_no_torch_does_not_wait_for_it(arguments: list[str], code: int) -> None:
    script = (
        "import sys\nfrom manyviews.verbs.cli import main\n"
        f"try:\n    main({arguments!r})\n"
        "except SystemExit as stop:\n    code = stop.code\n"
        f"assert code == {code}, code\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
