"""The import law: arrows between rooms point one way (DESIGN, sections 2 and 3)."""

import ast
from pathlib import Path

import pytest

import manyviews
from manyviews.methods.catalog import METHODS

ROOT = Path(manyviews.__file__).parent
ALL = {
    "core", "losses", "parts", "methods", "encoders", "views", "data", "training", "evaluation",
    "diagnosis", "reports", "recipes", "runs", "verbs",
}  # fmt: skip
MAY_IMPORT = {
    "core": set(),
    "losses": {"core"},
    "parts": {"core", "losses"},
    "methods": {"core", "losses", "parts"},
    "encoders": {"core"},
    "views": {"core"},
    "data": {"core"},
    "training": {"core"},
    "diagnosis": {"core", "losses"},
    "reports": {"core", "diagnosis"},
    "evaluation": {"core", "data", "views"},
    "recipes": {"core", "methods", "encoders", "views", "data", "training", "evaluation", "runs"},
    "runs": ALL - {"recipes", "verbs"},
    "verbs": ALL,
    "__init__": {"runs", "verbs"},
    "__main__": {"verbs"},
}
"""Other rooms than itself. No file is outside this."""
ONLY = {
    ("evaluation", "views"): {
        "manyviews.views.image.plain",
        "manyviews.views.image.engine",  # crops of labelled images, for fine-tuning
        "manyviews.views.plan",
    },
    ("recipes", "evaluation"): {"manyviews.evaluation.settings"},
    ("recipes", "runs"): {"manyviews.runs.settings"},
}
"""Where a room may look at a part of another only. Labels are read in `evaluation` alone."""
FILES = {p: ".".join(p.relative_to(ROOT).with_suffix("").parts) for p in ROOT.rglob("*.py")}


def imported(source):
    """Every module that a piece of source imports, wherever in it, as a dotted name."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written out in full"
            if node.module == "manyviews":
                names |= {f"manyviews.{alias.name}" for alias in node.names}
            else:
                names.add(node.module)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names.add(f"{node.value.id}.{node.attr}")
    return names


def room(name):
    """manyviews.parts.heads -> parts."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


def violations(module, source):
    """What a module of ours (a dotted name without "manyviews") imports against the law."""
    own = module.split(".")[0]
    bad = []
    for name in sorted(imported(source)):
        if name.split(".")[0] != "manyviews":
            continue
        other = room(name)
        if other in ("", own, "__version__"):
            continue
        only = ONLY.get((own, other))
        if other not in MAY_IMPORT[own] or (only is not None and name not in only):
            bad.append(f"{module} imports {name}")
    return bad


@pytest.mark.parametrize("path", FILES, ids=FILES.get)
def test_arrows_point_one_way(path):
    assert violations(FILES[path], path.read_text()) == []


def test_the_root_holds_rooms_and_nothing_loose():
    found = {p.stem if p.is_file() else p.name for p in ROOT.iterdir() if p.name != "__pycache__"}
    assert found == set(MAY_IMPORT)


def test_no_public_class_name_is_defined_twice():
    homes = {}
    for path, module in FILES.items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(module)
    assert {name: places for name, places in homes.items() if len(places) > 1} == {}


def test_no_method_imports_another():
    for path in (ROOT / "methods").rglob("*.py"):
        others = {n for n in imported(path.read_text()) if room(n) == "methods"}
        assert path.stem == "catalog" or not others, path.name


def test_ranks_are_invisible_outside_comm_training_and_data():
    for path, module in FILES.items():
        own = module.split(".")[0]
        if own not in ("training", "data") and module != "core.comm":
            assert not any(n.startswith("torch.distributed") for n in imported(path.read_text()))


def test_methods_do_not_wait_for_slow_imports():
    for own in ("core", "losses", "parts", "methods"):
        for path in [p for p, module in FILES.items() if module.split(".")[0] == own]:
            top = ast.Module(
                [
                    n
                    for n in ast.parse(path.read_text()).body
                    if "import" in type(n).__name__.lower()
                ],
                [],
            )
            slow = {n.split(".")[0] for n in imported(ast.unparse(top))}
            assert not slow & {"timm", "torchvision", "cv2", "pyarrow"}, path.name


KNOW_NO_METHOD = ("core", "losses", "parts", "training", "data", "views", "evaluation", "diagnosis")
DECODERS = {"Image.open", "cv2.imread", "cv2.imdecode", "torchvision.io.decode_jpeg", "av.open"}
"""What turns the bytes of a file into numbers."""


def named_methods(source):
    """Strings that are a method's name."""
    nodes = (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Constant))
    return sorted(n.value for n in nodes if isinstance(n.value, str) and n.value in METHODS)


def decoders(module, source):
    """What decodes files by itself, outside the room for it."""
    streams = "manyviews.data.streams"
    names = imported(source)
    calls = {n for n in names if n in DECODERS} | {
        f"{n.module}.{alias.name}"
        for n in ast.walk(ast.parse(source))
        if isinstance(n, ast.ImportFrom)
        for alias in n.names
        if f"{n.module}.{alias.name}" in DECODERS
        or (str(n.module).startswith(streams) and alias.name in ("read", "decode", "open_streams"))
    }
    return [] if module.split(".")[0] == "data" else sorted(calls)


def test_no_room_below_recipes_names_a_method():
    for path, module in FILES.items():
        if module.split(".")[0] in (*KNOW_NO_METHOD, "reports"):
            assert named_methods(path.read_text()) == [], module


def test_files_are_decoded_in_data_alone():
    for path, module in FILES.items():
        if module != "evaluation.image.corruptions.digital":  # which spoils an image as JPEG
            assert decoders(module, path.read_text()) == [], module


def test_what_a_run_began_with_is_read_and_written_in_one_place():
    for path, module in FILES.items():
        if not module.startswith("runs.folder."):
            text = path.read_text()
            names = ("config.yaml", "metrics.jsonl", "began.json")
            assert [name for name in names if f'"{name}"' in text] == [], module


@pytest.mark.parametrize(
    ("module", "source", "bad"),
    [
        ("runs.look", "from PIL import Image\nImage.open('a.png')", 1),
        ("views.make", "from manyviews.data.streams.image import read", 1),
        ("evaluation.knn", "from torchvision.io import decode_jpeg", 1),
        ("data.doctor", "from manyviews.data.streams.image import read", 0),
        ("evaluation.table", "from manyviews.data.streams.image import SUFFIXES", 0),
    ],
)
def test_the_law_finds_who_decodes(module, source, bad):
    assert len(decoders(module, source)) == bad


def test_the_law_finds_a_method_by_name():
    assert named_methods("if name == 'mae' or name == 'maes': pass") == ["mae"]


@pytest.mark.parametrize(
    ("module", "source", "bad"),
    [
        ("training.loop", "from manyviews.methods.masked.mae import MAE", 1),
        ("training.loop", "def f():\n    from manyviews import methods", 1),
        ("evaluation.knn", "from manyviews.views.draw import draw", 1),
        ("evaluation.finetune", "from manyviews.training.optim import build", 1),
        ("evaluation.finetune", "from manyviews.encoders import build", 1),
        ("evaluation.knn", "from manyviews.views.image.plain import Plain", 0),
        ("data.loader", "from manyviews.evaluation.labelled import open_labelled", 1),
        ("encoders.vit", "from manyviews.parts.heads import mlp", 1),
        ("losses.clustering", "from manyviews.parts import assign", 1),
        ("methods.mae", "import manyviews.encoders.vit", 1),
        ("methods.mae", "import manyviews\nmanyviews.encoders.build()", 1),
        ("parts.heads", "from manyviews import losses, runs", 1),
        ("methods.mae", "import torch\nfrom manyviews.parts.heads import mlp", 0),
        ("runs.train", "from manyviews.recipes import RECIPES", 1),
        ("runs.train", "from manyviews.verbs.train import train", 1),
        ("recipes.imagenet", "from manyviews.runs.train import run_in", 1),
        ("verbs.train", "from manyviews import encoders, methods, training", 0),
    ],
)
def test_the_law_finds_what_breaks_it(module, source, bad):
    assert len(violations(module, source)) == bad
