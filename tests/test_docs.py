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
