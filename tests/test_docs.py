import ast
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from manyviews.methods.catalog import METHODS
from manyviews.recipes import AUTHORS_DATA, RECIPES
from manyviews.recipes.presets import preset
from manyviews.runs.facts import typical_facts
from manyviews.runs.settings import Run
from manyviews.verbs.flags import lengthen
from manyviews.verbs.listing import MEASURED
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


def test_numbers_of_a_run_are_sent_elsewhere(tmp_path):
    spec = importlib.util.spec_from_file_location("elsewhere", ROOT / "docs" / "log_elsewhere.py")
    elsewhere = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(elsewhere)
    lines = ['{"kind": "train", "step": 3, "loss": 2.5, "note": "a", "lr": null}']
    lines += ['{"kind": "alarm", "step": 4, "message": "b"}']
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    sent = []
    assert elsewhere.replay(tmp_path, lambda numbers, step: sent.append((numbers, step))) == 1
    assert sent == [({"train/loss": 2.5}, 3)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def listed(text):
    """Page -> recipes of each row of a table of methods, several rows of a page together."""
    found = {}
    row = r"^\| \[[^]]+\]\((?:docs/methods/)?([\w-]+)\.md\) \| ([^|]+) \| [^|]+ \|$"
    for page, recipes in re.findall(row, text, re.MULTILINE):
        found.setdefault(page, []).extend(re.findall(r"`([\w-]+)`", recipes))
    return found


def test_every_method_has_a_page_and_a_row_in_the_list_of_methods():
    pages = ROOT / "docs" / "methods"
    rows = listed((pages / "README.md").read_text())
    more = {"rho", "sound"}  # several methods, on clips of a video and pieces of a sound
    assert set(rows) == {*METHODS, *more}
    assert {p.stem for p in pages.glob("*.md")} == {*rows, "README"}
    text = "| [A](a-b.md) | `a`, `c` | d |\n| [E](a-b.md) | `f` | g |\n| H | `i` |"
    assert listed(text) == {"a-b": ["a", "c", "f"]}


def test_every_recipe_for_one_s_own_data_is_in_the_list_of_methods_once():
    rows = listed((ROOT / "docs" / "methods" / "README.md").read_text())
    named = [recipe for recipes in rows.values() for recipe in recipes]
    own = {name for name in RECIPES if not name.endswith(AUTHORS_DATA)}
    assert sorted(named) == sorted(own - {"adapt"})  # goes on with any method


def test_the_readme_s_table_is_a_part_of_the_list_of_methods():
    every = listed((ROOT / "docs" / "methods" / "README.md").read_text())
    few = listed((ROOT / "README.md").read_text())
    assert len(few) == 10
    assert all(set(recipes) <= set(every[page]) for page, recipes in few.items())


def unreachable(navigation, pages):
    """Pages of docs/ that the site's navigation leaves out."""
    named = set(re.findall(r": (\S+\.md)$", navigation, re.MULTILINE))
    folders = {folder.lower() for folder in re.findall(r": ([A-Z]+)$", navigation, re.MULTILINE)}
    return [page for page in pages if page not in named and page.split("/")[0] not in folders]


def test_every_page_is_in_the_site_s_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text().split("\nnav:\n")[1]
    docs = ROOT / "docs"
    assert unreachable(navigation, [str(p.relative_to(docs)) for p in docs.rglob("*.md")]) == []
    assert unreachable("- A: a.md\n- M: METHODS\n", ["a.md", "b.md", "methods/c.md"]) == ["b.md"]


def written_twice(text):
    """Where lines of a page, typed one after the other, would write over one another."""
    lines = re.findall(r"^manyviews ((?:train|pack|export) .*)", text, re.MULTILINE)
    words = [shlex.split(line, comments=True) for line in lines]
    outs = [
        w[-1] if w[0] == "pack" else w[w.index("--out") + 1 if "--out" in w else 0] for w in words
    ]
    named = [out for out in outs if out not in ("train", "export")]
    return sorted({out for out in named if named.count(out) > 1})


def test_lines_of_the_readme_can_be_typed_one_after_the_other():
    text = (ROOT / "README.md").read_text()
    assert written_twice(text) == []
    again = "\nmanyviews pack --videos more packed   # as before\nmanyviews train x --out run\n"
    assert written_twice(text + again) == ["packed", "run"]


def test_warnings_of_the_site_are_errors():
    [line] = [x for x in (ROOT / "Makefile").read_text().splitlines() if "mkdocs build" in x]
    assert "--strict" in line
    assert not re.search(r"--quiet|-q\b", line)  # with it --strict counts no warning


def test_every_extra_is_in_the_readme():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    table = (ROOT / "README.md").read_text().split("| extra | for |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted(extras["optional-dependencies"])


HOUSE = ROOT / "src" / "manyviews"
METHOD_FAMILIES = {
    path.name for room in ("methods", "recipes") for path in (HOUSE / room).glob("*/")
}


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
    assert len(answers) >= 20
    assert all(".py`" in answer for answer in answers)


def unnamed(folders, text):
    """Folders of a room that no text in backticks names."""
    return [folder for folder in folders if not re.search(rf"`(\w+/)*{folder}/`", text)]


def test_folders_of_rooms_are_in_the_architecture():
    text = (ROOT / "docs" / "architecture.md").read_text()
    listed_elsewhere = {*METHOD_FAMILIES, "methods", "recipes"}
    folders = {path.name for path in HOUSE.rglob("*") if any(path.glob("*.py"))}
    assert unnamed(sorted(folders - listed_elsewhere), text) == []
    assert unnamed(["pack", "packs"], "`data/` has `pack/`") == ["packs"]


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
        name = pop(args, "--views.preset")
        run = RECIPES[recipe](typical_facts())
        run, flags = lengthen(args, preset(run, name) if name else run)
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


def test_what_the_list_of_methods_says_was_measured_is_in_the_table():
    """Both are written by bench/methods.py; of several seeds the mean."""
    rows = json.loads((ROOT / "docs" / "results.json").read_text())["rows"]
    found = {}
    for name, kept in rows.items():
        value = kept["row"]["measures"]["knn|builtin:fashion|accuracy"]["value"]
        found.setdefault(name.rpartition("-")[0], []).append(value)
    said = json.loads(MEASURED.read_text())["methods"]
    assert set(said) == set(found) & set(METHODS)
    for name, value in said.items():
        assert value == pytest.approx(sum(found[name]) / len(found[name]), abs=1e-4), name


def lacking(text):
    """What a page of a method should have and has not."""
    idea = text.partition("\n## ")[0].partition("\n")[2]
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    tests = re.findall(r"`(tests/[\w/]+\.py)`", text)
    measured = sections.get("Measured", "")
    found = {
        "the idea in two sentences": len(re.findall(r"[.:;](?=\s)", idea)) >= 2,
        "a formula": "Formula" in sections and re.search(r"^(    |\|)", sections["Formula"], re.M),
        "differences": any(name.startswith("Deviations") for name in sections),
        "a test of parity": tests and all((ROOT / test).exists() for test in tests),
        "a command": re.search(r"^    manyviews train ", sections.get("Command", ""), re.M),
        "what was measured": "](../results.md)" in measured,
    }
    return [what for what, there in found.items() if not there]


def test_the_page_of_a_method_has_all_that_one_looks_for():
    pages = {p.stem: p.read_text() for p in bench("pages").of_methods()}
    assert {name: lost for name, text in pages.items() if (lost := lacking(text))} == {}
    whole = pages["simclr"]
    assert lacking("# A\n\nIt is so.\n") == [
        "the idea in two sentences",
        "a formula",
        "differences",
        "a test of parity",
        "a command",
        "what was measured",
    ]
    for heading in ("Formula", "Command", "Measured"):
        assert len(lacking(whole.replace(f"## {heading}\n", ""))) == 1, heading
    assert lacking(whole.replace("test_simclr.py", "test_nothing.py")) == ["a test of parity"]


def bench(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "bench" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_a_page_says_was_measured_is_in_the_table():
    pages = bench("pages")
    kept = json.loads((ROOT / "docs" / "results.json").read_text())
    said = pages.paragraphs(kept["rows"])
    advice = "Run: python bench/pages.py"
    for page in pages.of_methods():
        text = page.read_text()
        assert text.count(f"{pages.HEAD}{said[page.stem]}\n") == 1, f"{page.name}. {advice}"
        assert pages.with_paragraph(text, said[page.stem]) == text
    half = {key: {"value": 0.5} for key in pages.MEASURES.values()}
    other = {"byol-0": {"row": {"measures": half}}}
    assert "kNN 0.500 and linear 0.500 by `byol`, one seed" in pages.paragraphs(other)["byol"]
    assert "Not yet" in pages.paragraphs(other)["simclr"]
    assert "of images" in pages.paragraphs(other)["avid"]
