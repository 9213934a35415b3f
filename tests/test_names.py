"""Law 10 of docs/architecture.md: one word, one meaning, and each file's name in one place."""

import ast
import re

import pytest

from test_imports import FILES


def room(module):
    return module.split(".")[0]


LIKE_A_CLASS = re.compile(r"[A-Z]\w*[a-z]\w*")
PAPERS = "recipes.photometric"
"""Crops under the names of papers, read as `photometric.BYOL`."""


def bound(body):
    """(name, what) of what a body binds, also in `if` and `try`: class, def or value."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield node.name, "class"
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, "def"
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from ((n.id, "value") for t in targets for n in ast.walk(t) if is_name(n))
        elif isinstance(node, ast.If | ast.Try | ast.With):
            for part in ("body", "orelse", "finalbody"):
                yield from bound(getattr(node, part, []))
            yield from bound(s for h in getattr(node, "handlers", []) for s in h.body)


def is_name(node):
    return isinstance(node, ast.Name)


def public_names(source):
    return {(n, what) for n, what in bound(ast.parse(source).body) if not n.startswith("_")}


def doubled_types(sources):
    """Names of classes and of aliases of types that are bound in two modules, with those."""
    homes = {}
    classes = set()
    for module, source in sources.items():
        for name, what in public_names(source):
            homes.setdefault(name, []).append(module)
            classes |= {name} if what == "class" else set()
    return {
        name: sorted(places)
        for name, places in homes.items()
        if len(places) > 1 and (name in classes or LIKE_A_CLASS.fullmatch(name))
    }


def doubled_functions(sources):
    """(room, name) of public functions that one room has twice."""
    homes = {}
    for module, source in sources.items():
        for name, what in public_names(source):
            if what == "def":
                homes.setdefault((room(module), name), []).append(module)
    return {key: sorted(places) for key, places in homes.items() if len(places) > 1}


def test_no_public_type_is_named_twice():
    found = doubled_types({m: p.read_text() for p, m in FILES.items()})
    others = {name: [at for at in homes if at != PAPERS] for name, homes in found.items()}
    assert {name: at for name, at in others.items() if len(at) > 1} == {}


def renamed(source):
    """Types of ours, and constants, that an import gives another name."""
    return [
        f"{alias.name} as {alias.asname}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("manyviews")
        for alias in node.names
        if alias.asname not in (None, alias.name)
        and (alias.name[0].isupper() or (alias.asname or "")[0].isupper())
    ]


def test_no_type_is_renamed_by_an_import():
    for path, module in FILES.items():
        assert renamed(path.read_text()) == [], module


@pytest.mark.parametrize(
    ("source", "bad"),
    [
        ("from manyviews.core.inputs import Frames as Pixels", 1),
        ("def f():\n    from manyviews.methods.catalog import METHODS as M", 1),
        ("from manyviews.encoders import catalog as encoders", 0),
        ("import torch.nn.functional as F", 0),
        ("from PIL.Image import Image as Picture", 0),
    ],
)
def test_the_law_finds_a_type_that_is_renamed(source, bad):
    assert len(renamed(source)) == bad


def test_no_room_has_two_public_functions_of_one_name():
    found = doubled_functions({m: p.read_text() for p, m in FILES.items()})
    # a recipe's module has `small` and the authors', and asks two others for the data
    assert {key: at for key, at in found.items() if key[0] != "recipes"} == {}


@pytest.mark.parametrize(
    ("one", "other", "bad"),
    [
        ("class Pixels: pass", "Pixels = NDArray[np.uint8]", 1),
        ("Bytes = NDArray[np.uint8]", "Bytes = NDArray[np.uint8]", 1),
        ("class Split: pass", "Split: TypeAlias = Literal['a']", 1),
        ("class Crop: pass", "if TYPE_CHECKING:\n    class Crop: pass", 1),
        ("class Crop: pass", "try:\n    import x\nexcept ImportError:\n    class Crop: pass", 1),
        ("class MAE: pass", "MAE = Crops()", 1),
        ("_Bytes = NDArray[np.uint8]", "_Bytes = NDArray[np.uint8]", 0),
        ("SIZE = 3", "SIZE = 4", 0),
        ("T = TypeVar('T')", "T = TypeVar('T')", 0),
        ("class Crop:\n    class Inner: pass", "class Inner: pass", 0),
    ],
)
def test_the_law_finds_a_type_that_is_named_twice(one, other, bad):
    assert len(doubled_types({"views.one": one, "data.other": other})) == bad


@pytest.mark.parametrize(
    ("one", "other", "bad"),
    [
        (("runs.past", "def kept(): pass"), ("runs.keep", "def kept(): pass"), 1),
        (("runs.past", "def kept(): pass"), ("data.keep", "def kept(): pass"), 0),
        (("runs.past", "def _kept(): pass"), ("runs.keep", "def _kept(): pass"), 0),
        (("runs.past", "class A:\n  def kept(): pass"), ("runs.b", "def kept(): pass"), 0),
    ],
)
def test_the_law_finds_a_function_that_a_room_has_twice(one, other, bad):
    assert len(doubled_functions(dict((one, other)))) == bad


IN_A_RUN = re.compile(
    r"((encoder|start)(-?\*|-\w+)?\.safetensors|start\.json|report\.html|evaluation|diagnosis(-\w+)?\.json|outcome\.json"
    r"|checkpoints|metrics\.jsonl|quarantine\.jsonl|log\.txt|config\.yaml|began\.json|cache|lock"
    r"|step_.*|\*\.json|latest|manifest\.json|state\.json|(method|optimizer|monitors)\.safetensors)"
)
"""Names of what lies in a run's folder, and in the checkpoints there."""
HOMES = ("runs.folder.paths", "training.checkpoint")


TAKE_NAMES = ("glob", "rglob", "joinpath", "with_name", "removeprefix", "startswith")


def names_in_a_run(source):
    """Parts of paths that are such names: joined by /, or given to a function that takes paths."""
    found = []
    for node in ast.walk(ast.parse(source)):
        pieces = []
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            pieces = [node.left, node.right]
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            pieces = node.args if name in TAKE_NAMES else []
        elif isinstance(node, ast.Subscript):
            pieces = [node.slice] if ".safetensors" in ast.unparse(node.slice) else []
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
        if room(module) in ("runs", "verbs", "training") and module not in HOMES:
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
        ("pointer = folder / 'latest'", 1),
        ("steps = [int(path.name.removeprefix('step_')) for path in folder.iterdir()]", 1),
        ("listed = json.loads((path / 'manifest.json').read_text())['files']", 1),
        ("noted = listed['method.safetensors']['sha256']", 1),
    ],
)
def test_the_law_finds_names_of_a_runs_files(source, bad):
    assert len(names_in_a_run(source)) == bad
