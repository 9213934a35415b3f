"""The import law: arrows between rooms point one way (DESIGN, sections 2 and 3)."""

import ast
import re
import sys
from pathlib import Path

import pytest

import manyviews

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
        "manyviews.views.by_input",
        "manyviews.views.pipeline",
        "manyviews.views.plan",  # crops of labelled images, for fine-tuning
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


def dotted(source):
    """Every dotted name of what is imported, and of what is taken from that, under its own name."""
    tree, known = ast.parse(source), {}
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found.add(alias.name)
                known[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                found.add(f"{node.module}.{alias.name}")
                known[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            base, _, rest = ast.unparse(node).partition(".")
            if base in known and re.fullmatch(r"[\w.]+", rest):
                found.add(f"{known[base]}.{rest}")
    return found


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
    found.remove("py")  # py.typed, which says that the types are to be read
    assert found == set(MAY_IMPORT)


def test_no_method_imports_another():
    for path in (ROOT / "methods").rglob("*.py"):
        others = {n for n in imported(path.read_text()) if room(n) == "methods"}
        assert path.stem == "catalog" or not others, path.name


def test_ranks_are_invisible_outside_comm_training_and_data():
    for path, module in FILES.items():
        own = module.split(".")[0]
        if own not in ("training", "data") and module != "core.comm":
            assert not any(n.startswith("torch.distributed") for n in imported(path.read_text()))


COUNTS = {"parts.norm"}
"""Whose groups are cut by the number of ranks, so that statistics do not depend on it."""
RANKS = re.compile(
    r"(manyviews\.core\.comm|torch\.distributed|os)\.(world_size|rank|get_\w+|environ)"
)


def counts_ranks(source):
    """Where the number of processes, or a process's own, is asked for (law 4)."""
    return sorted(name for name in dotted(source) if RANKS.fullmatch(name))


def test_no_method_loss_or_part_asks_how_many_ranks_there_are():
    for path, module in FILES.items():
        if module.split(".")[0] in ("methods", "losses", "parts") and module not in COUNTS:
            assert counts_ranks(path.read_text()) == [], module


@pytest.mark.parametrize(
    ("source", "bad"),
    [
        ("from manyviews.core import comm\nloss = loss * comm.world_size()", 1),
        ("from manyviews.core import comm as c\nmine = x[c.rank()]", 1),
        ("from manyviews.core.comm import world_size as w\nx = w()", 1),
        ("import manyviews.core.comm\nx = manyviews.core.comm.rank()", 1),
        ("import os\nx = os.environ['WORLD_SIZE']", 1),
        ("import torch.distributed as dist\nx = dist.get_rank()", 1),
        ("from manyviews.core import comm\nmine = comm.share(comm.gather(x))", 0),
        ("place = self.rank", 0),
    ],
)
def test_the_law_finds_who_counts_ranks(source, bad):
    assert len(counts_ranks(source)) == bad


LEARNS = {
    "manyviews.core",  # Given has the encoders
    "manyviews.losses",
    "manyviews.parts",
    "manyviews.methods",  # the catalogue alone, see above
    "torch",
    "numpy",
    *(sys.stdlib_module_names - {"importlib", "runpy", "urllib", "subprocess"}),
}
TIMM = {
    "parts.decoder": "timm.models.vision_transformer.Block",  # layers of a head
    "parts.code_decoder": "timm.models.vision_transformer.Block",
    "parts.predictor": "timm.models.vision_transformer.Block",
    "parts.fusion": "timm.models.vision_transformer.Block",
    "parts.dropout": "timm.layers.drop.DropPath",  # what encoders have, to turn it off
    "parts.norm": "timm.layers.norm_act.BatchNormAct2d",  # likewise, to change it into ours
}
"""What else parts have of timm, which are layers: no encoder."""


def makes_encoders(module, source):
    """What a method or part could make an encoder or a teacher of by itself (law 3)."""
    found = set()
    for name in dotted(source):
        known = any(f"{name}.".startswith(f"{each}.") for each in LEARNS)
        layer = TIMM.get(module, "")
        if not known and not f"{layer}.".startswith(f"{name}."):
            found.add(name.split(".")[0])
        elif re.match(r"torch\.(hub|jit|load|export)\b", name):
            found.add(".".join(name.split(".")[:2]))
    return sorted(found | {"import" for word in ("__import__", "exec(") if word in source})


def test_methods_are_given_their_encoders():
    for path, module in FILES.items():
        if module.split(".")[0] in ("methods", "losses", "parts"):
            assert makes_encoders(module, path.read_text()) == [], module


@pytest.mark.parametrize(
    ("module", "source", "bad"),
    [
        (
            "methods.distillation.simsiam",
            "def f():\n    import timm\n    timm.create_model('x')",
            1,
        ),
        ("methods.distillation.dino", "from torchvision.models import resnet50", 1),
        ("methods.masked.mae", "from manyviews.encoders.vit import ViT", 1),
        ("methods.masked.mae", "import torch\nx = torch.hub.load('a', 'b')", 1),
        ("methods.masked.mae", "import importlib", 1),
        ("methods.masked.mae", "from timm.models.vision_transformer import Block", 1),
        ("parts.decoder", "from timm.models.vision_transformer import Block", 0),
        ("parts.decoder", "from timm.models.vision_transformer import VisionTransformer", 1),
        ("parts.decoder", "import timm\ntimm.create_model('x')", 1),
        ("methods.masked.mae", "import math, copy\nimport torch\nfrom torch import nn", 0),
    ],
)
def test_the_law_finds_who_makes_an_encoder(module, source, bad):
    assert len(makes_encoders(module, source)) == bad


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


@pytest.mark.parametrize(
    ("module", "source", "bad"),
    [
        ("training.loop", "from manyviews.methods.masked.mae import MAE", 1),
        ("training.loop", "def f():\n    from manyviews import methods", 1),
        ("evaluation.knn", "from manyviews.views.draw import draw", 1),
        ("evaluation.finetune", "from manyviews.training.optim import build", 1),
        ("evaluation.finetune", "from manyviews.encoders import build", 1),
        ("evaluation.knn", "from manyviews.views.image.plain import Plain", 1),
        ("evaluation.knn", "from manyviews.views.by_input import plain_of", 0),
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
