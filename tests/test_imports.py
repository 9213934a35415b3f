"""The import law: arrows between rooms point one way (DESIGN, sections 2 and 3)."""

import ast
import re
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


MAY_READ = {
    "PIL": ("views.image.reference", "reports.pictures", "evaluation.image.corruptions.digital"),
    "cv2": ("views.image.single", "evaluation.image.corruptions"),
    "torchvision": ("views.image.reference",),
}
"""What can decode files -> who has it for something else. Others than these only `data` has."""
DECODE = dict.fromkeys(
    ("av", "decord", "imageio", "librosa", "skimage", "soundfile", "soxr", "tifffile"), ()
) | dict.fromkeys(("torchaudio", "torchcodec", "wave", *MAY_READ), ())
READS = re.compile(
    r"PIL\.Image\.open|cv2\.(imread\w*|imdecode\w*|VideoCapture)|torchvision\.io(\..*)?"
    r"|numpy\.(load|fromfile|memmap|loadtxt|genfromtxt)"
)
"""What turns the bytes of a file into numbers."""
FEATURES = ("evaluation.features", "evaluation.labelled", "evaluation.stored")
"""Who reads arrays that are no media: features, and labels."""


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


def below(module, rooms):
    return any(f"{module}.".startswith(f"{each}.") for each in rooms)


def decoders(module, source):
    """What decodes files by itself, outside the room for it."""
    if below(module, ["data"]):
        return []
    found, names = set(), dotted(source)
    for name in names:
        root = name.split(".")[0]
        if root in DECODE and not below(module, MAY_READ.get(root, ())):
            found.add(root)
        elif READS.fullmatch(name) and not (root == "numpy" and below(module, FEATURES)):
            found.add(name)
    streams = "manyviews.data.streams."
    return sorted(found) + sorted(
        name
        for name in names
        if name.startswith(streams) and name.split(".")[-1] in ("read", "decode", "open_streams")
    )


def test_files_are_decoded_in_data_alone():
    for path, module in FILES.items():
        found = decoders(module, path.read_text())
        if module == "evaluation.image.corruptions.digital":  # which spoils an image as JPEG
            found.remove("PIL.Image.open")
        assert found == [], module


MAKES_VIEWS = {
    "manyviews.views.image": {"Plain", "Engine", "Cutter", "CropMaker", "resize", "draw", "make"},
    "manyviews.views.video": {"ClipMaker", "PlainClipMaker"},
    "manyviews.views.audio": {"SoundMaker", "PlainSoundMaker"},
    "manyviews.views.draw": {"draw"},
}
"""What makes views by itself; whoever wants some asks a pipeline."""


def around_the_pipeline(module, source):
    """What turns a sample into tensors by itself, outside the rooms of data and views (law 8)."""
    if module.split(".")[0] in ("data", "views"):
        return []
    found, tree = set(), ast.parse(source)
    families = {  # a family may be made of another
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == "maker"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for of, names in MAKES_VIEWS.items():
                if f"{node.module}.".startswith(f"{of}."):
                    found |= {f"{node.module}.{a.name}" for a in node.names if a.name in names}
                    # the module itself: from manyviews.views.image import engine
                    found |= {f"{of}.{a.name}" for a in node.names if node.module == of}
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node not in families
        ):
            called = ast.unparse(node.func)
            of, _, verb = called.rpartition(".")
            stream = re.search(r"(^|\.)(source|stream|streams?\[.*\]|open\(.*\)\[.*\])$", of)
            opened = re.search(r"(^|\.)(source|data_?set)$", of)
            if (verb == "read" and stream) or (verb == "open" and opened) or verb == "maker":
                found.add(called)
        if isinstance(node, ast.Import):
            found |= {
                alias.name
                for alias in node.names
                if below(alias.name, ["manyviews.views.image", "manyviews.views.video"])
                or below(alias.name, ["manyviews.views.audio"])
            }
    return sorted(found)


def test_samples_become_tensors_in_a_pipeline_alone():
    for path, module in FILES.items():
        assert around_the_pipeline(module, path.read_text()) == [], module


@pytest.mark.parametrize(
    ("module", "source", "bad"),
    [
        ("runs.look", "from manyviews.views.image.plain import Plain", 1),
        ("verbs.embed", "from manyviews.views.image.engine import Engine as E", 1),
        ("verbs.embed", "from manyviews.views.image import engine", 1),
        ("evaluation.features", "def f(self): return self.source.read(3)", 1),
        ("runs.look", "pixels = source.read(index)", 1),
        ("runs.look", "make = Crops().maker('global', fed, (), seed=0)", 1),
        ("runs.look", "from manyviews.views.image.single import altered", 0),
        ("runs.look", "def maker(self, name): return Crops().maker(name)", 0),
        ("runs.look", "text = path.read()\nfile.read(path)", 0),
        ("runs.look", "import manyviews.views.image.engine as e", 1),
        ("evaluation.features", "pixels = source.open(3)['image'].read()", 2),
        ("runs.report", "pixels = self.source.open(3)", 1),
        ("runs.report", "pixels = stream.read(window)", 1),
        ("runs.report", "pixels = streams['video'].read(window)", 1),
        ("runs.report", "with path.open() as file: text = file.read()", 0),
        ("views.video.plain", "from manyviews.views.image.plain import Plain", 0),
        ("data.survey", "image = source.read(0)", 0),
    ],
)
def test_the_law_finds_what_goes_around_the_pipeline(module, source, bad):
    assert len(around_the_pipeline(module, source)) == bad


IN_A_RUN = re.compile(
    r"((encoder|start)(-?\*|-\w+)?\.safetensors|start\.json|report\.html|evaluation|diagnosis(-\w+)?\.json|outcome\.json"
    r"|checkpoints|metrics\.jsonl|quarantine\.jsonl|log\.txt|config\.yaml|began\.json|cache|lock"
    r"|step_\*|\*\.json)"
)
"""Names of what lies in a run's folder."""


def names_in_a_run(source):
    """Parts of paths that are such names: joined by /, or given to a function that takes paths."""
    found = []
    for node in ast.walk(ast.parse(source)):
        pieces = []
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            pieces = [node.left, node.right]
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            pieces = node.args if name in ("glob", "rglob", "joinpath", "with_name") else []
        found += [text for piece in pieces for text in texts(piece) if IN_A_RUN.fullmatch(text)]
    return found


def texts(node):
    """A string, or one with braces in which a * stands for what is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.split("/")
    if isinstance(node, ast.JoinedStr):
        parts = [p.value if isinstance(p, ast.Constant) else "*" for p in node.values]
        return "".join(parts).split("/")
    return []


def test_what_lies_in_a_run_has_its_name_in_one_place():
    for path, module in FILES.items():
        if module.split(".")[0] in ("runs", "verbs") and module != "runs.folder.paths":
            assert names_in_a_run(path.read_text()) == [], module


@pytest.mark.parametrize(
    ("source", "bad"),
    [
        ("page = directory / 'report.html'", 1),
        ("path = run / 'evaluation' / 'demo.json'", 1),
        ("path = run / f'encoder{ending}.safetensors'", 1),
        ("path = f'{name}' / Path('x')", 0),
        ("files = run.glob('encoder-*.safetensors')", 1),
        ("files = sorted(folder.glob('step_*'))", 1),
        ("path = Path(run) / 'evaluation/knn.json'", 1),
        ("found = diagnosis.get('checkpoints', {})", 0),
        ("path = Paths(run).report", 0),
    ],
)
def test_the_law_finds_names_of_a_runs_files(source, bad):
    assert len(names_in_a_run(source)) == bad


@pytest.mark.parametrize(
    ("module", "source", "bad"),
    [
        ("runs.look", "from PIL import Image\nImage.open('a.png')", 1),
        ("views.make", "from manyviews.data.streams.image import read", 1),
        ("evaluation.knn", "from torchvision.io import decode_jpeg", 1),
        ("runs.look", "from PIL.Image import open as x\nx('a.png')", 1),
        ("reports.pictures", "from PIL.Image import open as x", 1),
        ("reports.pictures", "import PIL.Image as I\nI.open('a.png')", 1),
        ("reports.pictures", "from PIL import Image\nImage.fromarray(x)", 0),
        ("runs.look", "from torchvision import io\nio.read_image('a.png')", 1),
        ("views.image.reference", "from torchvision import io\nio.read_image('a.png')", 2),
        ("views.image.single", "import cv2\ncv2.VideoCapture('a.mp4')", 1),
        ("views.image.single", "import cv2 as c\nc.imread('a.png')", 1),
        ("runs.look", "import soundfile\nsoundfile.read('a.wav')", 1),
        ("runs.look", "def f():\n    import av", 1),
        ("runs.look", "import numpy as np\nnp.load('a.npy')", 1),
        ("views.image.plain", "from numpy import load as l", 1),
        ("evaluation.stored", "import numpy as np\nnp.load('a.npy')", 0),
        ("data.doctor", "from manyviews.data.streams.image import read", 0),
        ("evaluation.table", "from manyviews.data.streams.image import SUFFIXES", 0),
    ],
)
def test_the_law_finds_who_decodes(module, source, bad):
    assert len(decoders(module, source)) == bad


@pytest.mark.parametrize(
    ("module", "source", "bad"),
    [
        ("training.loop", "from manyviews.methods.masked.mae import MAE", 1),
        ("training.loop", "def f():\n    from manyviews import methods", 1),
        ("evaluation.knn", "from manyviews.views.draw import draw", 1),
        ("evaluation.finetune", "from manyviews.training.optim import build", 1),
        ("evaluation.finetune", "from manyviews.encoders import build", 1),
        ("evaluation.knn", "from manyviews.views.image.plain import Plain", 1),
        ("evaluation.knn", "from manyviews.views.pipeline import plain_of", 0),
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
