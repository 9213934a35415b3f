"""Tables whose things are imported when they are asked for."""

import inspect
import json
import subprocess
import sys
from typing import get_args

import pytest

from manyviews.core.lazy import Lazy, about, written
from manyviews.encoders.catalog import KINDS, kinds, timms
from manyviews.encoders.settings import HieraSize
from manyviews.evaluation.dense.settings import DENSE_PROTOCOLS
from manyviews.evaluation.image.settings import IMAGE_PROTOCOLS
from manyviews.evaluation.protocols import PROTOCOLS
from manyviews.evaluation.settings import PAIR_PROTOCOLS, TOKEN_PROTOCOLS
from manyviews.methods.catalog import METHODS
from manyviews.recipes import RECIPES
from manyviews.verbs.listing import MEASURED, listing


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
    [
        (["list", "recipes"], 0),
        (["list", "methods"], 0),
        (["list", "encoders"], 0),
        (["list", "protocols"], 0),
        (["train", "--help"], 0),
        (["evaluate", "--help"], 0),
        (["train", "simlcr", "--data", "x"], 2),
        (["train", "simclr", "--data", "/no/such/place"], 2),
        (["doctor", "/no/such/place"], 2),
        (["embed", "run", "--data", "/no/such/place", "--out", "x.npy"], 2),
    ],
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


@pytest.mark.parametrize(
    "arguments",
    [["train", "simclr", "--help"], ["evaluate", "/no/run", "--data", "builtin:fashion"]],
)
def test_what_needs_torch_says_so_before_it_is_loaded(arguments: list[str]) -> None:
    script = (
        "import os, sys\nfrom manyviews.verbs.cli import main\n"
        "class Said:\n    def write(self, text):\n"
        "        assert 'torch' not in sys.modules, text\n"
        "        print('first:', text, flush=True)\n        os._exit(9)\n"
        f"sys.stderr = Said()\nmain({arguments!r})"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert done.returncode == 9, done.stderr
    assert done.stdout.startswith(b"first: loading PyTorch ...")


def first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def test_lists_that_are_read_from_files_say_what_the_tables_hold() -> None:
    knn = json.loads(MEASURED.read_text())["methods"]
    measured = {name: f"; kNN {value:.2f}" for name, value in knn.items()}
    assert listing("methods").items == {
        name: f"{first_line(entry.method)} [{entry.held or 'formula'}{measured.get(name, '')}]"
        for name, entry in METHODS.items()
    }
    held = {name: first_line(protocol) for name, protocol in PROTOCOLS.items()}
    more = TOKEN_PROTOCOLS | PAIR_PROTOCOLS | IMAGE_PROTOCOLS | DENSE_PROTOCOLS
    assert listing("protocols").items == held | more
    encoders = listing("encoders").items
    assert list(encoders) == [*kinds(), *timms()]
    assert {name: encoders[name] for name in kinds()} == kinds()
    assert "timm" in KINDS
    assert KINDS["hiera"].models == get_args(HieraSize)


def test_a_table_is_read_from_its_file() -> None:
    read = written("manyviews.methods.catalog", "METHODS")["simclr"]
    home = "manyviews.methods.contrastive.simclr"
    assert read == (f"{home}:SimCLR", f"{home}:SimCLRConfig", "google-research/simclr")
    for unknown in ("NOTHING", "Entry"):
        with pytest.raises(KeyError):
            written("manyviews.methods.catalog", unknown)
    with pytest.raises(KeyError):
        about("manyviews.methods.catalog:nothing")
    with pytest.raises(KeyError):
        about("manyviews.no.such.module:nothing")
