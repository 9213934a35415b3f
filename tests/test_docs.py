import ast
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from manyviews.recipes import RECIPES
from manyviews.runs.facts import typical_facts
from manyviews.runs.settings import Run
from manyviews.verbs.flags import lengthen
from manyviews.verbs.parse import parse, pop

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def test_the_loop_by_hand_learns():
    one = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "docs" / "by_hand.py"), "21"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=one)
    assert done.returncode == 0, done.stderr
    losses = [float(x) for x in re.findall(r"loss ([\d.]+)", done.stdout)]
    assert losses[-1] < losses[0] - 0.1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


HOUSE = ROOT / "src" / "manyviews"


def missing_files(text):
    """Files of ours that a text names in backticks, with their folder, and that are not there."""
    named = re.findall(r"`((?:[\w-]+/)+[\w.-]+\.(?:py|yaml|npz|j2))`", text)
    places = (ROOT, HOUSE)
    return [n for n in named if n == n.lower() and not any((at / n).exists() for at in places)]


def test_files_that_the_architecture_names_are_there():
    text = (ROOT / "docs" / "architecture.md").read_text()
    assert missing_files(text) == []
    assert missing_files("`data/ahead.py` and `data/loader.py`, `methods/FAMILY/NAME.py`") == [
        "data/ahead.py"
    ]
    asked = re.search(r"## Where is \.\.\.\?\n(.*?)\n## ", text, re.DOTALL)
    answers = re.findall(r"^\| (?!question|-)[^|]+ \| (.+) \|$", asked[1], re.MULTILINE)
    assert len(answers) == 13
    assert all(".py`" in answer for answer in answers)


def test_all_ten_laws_name_their_tests():
    text = (ROOT / "docs" / "architecture.md").read_text()
    laws = re.findall(r"^\| (\d+)\. .+ \| (.+) \|$", text, re.MULTILINE)
    assert [int(number) for number, _ in laws] == list(range(1, 11))
    assert all("`tests/" in tests for _, tests in laws)


def lost_names(text, modules):
    """`module.Class` in backticks that is in no module of ours of that name."""
    found = []
    for of, name in re.findall(r"`(?:manyviews\.)?([a-z_.]+)\.([A-Z]\w*[a-z]\w*)[.\w]*[`(]", text):
        if importlib.util.find_spec(of.split(".")[0]) is None:
            ours = [m for m in modules if f".{m}".endswith(f".{of}")]
            if not any(re.search(rf"\b{name}\b", modules[m]) for m in ours):
                found.append(f"{of}.{name}")
    return found


def test_classes_that_texts_name_by_their_module_are_there():
    files = {p: p.read_text() for p in HOUSE.rglob("*.py")}
    modules = {
        ".".join(p.relative_to(HOUSE).with_suffix("").parts).removesuffix(".__init__"): text
        for p, text in files.items()
    }
    texts = {**files, **{page: page.read_text() for page in PAGES}}
    assert {str(p): lost for p, text in texts.items() if (lost := lost_names(text, modules))} == {}
    known = {"diagnosis.result": "class Diagnosed:"}
    assert lost_names("as `results.Diagnosed.to_json`", known) == ["results.Diagnosed"]
    assert lost_names("as `diagnosis.result.Diagnosed`, `torch.Tensor`", known) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_trainings_on_pages_name_settings_that_there_are(page):
    for line in re.findall(r"manyviews train ([a-z-]+ .*)", page.read_text()):
        recipe, *args = shlex.split(line.partition("#")[0].partition("`")[0])
        if recipe not in RECIPES or "--help" in args:
            continue
        for flag in ("--data", "--out"):
            pop(args, flag)
        run, flags = lengthen(args, RECIPES[recipe](typical_facts()))
        kind = Run[type(run.method), type(run.encoders), type(run.views)]
        parse(kind, flags, prog="manyviews train", default=run)  # or it raises


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_on_pages_imports_what_there_is(page):
    for code in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom):
                exec(ast.unparse(node))  # or it raises
            elif isinstance(node, ast.Import):
                assert all(importlib.util.find_spec(name.name) for name in node.names)
