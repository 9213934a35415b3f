"""Laws of docs/architecture.md that are about words: methods' names, labels, kinds of input, types.

Each is a function from a source to what breaks it there, held against every file and against
violations that are planted here.
"""

import ast
import dataclasses
import inspect
import re
import textwrap

import pytest

from manyviews.core import Batch, Given
from manyviews.core.sample import Source
from manyviews.data import sources, store
from manyviews.data.pack.read import Packed
from manyviews.methods.catalog import METHODS
from manyviews.recipes import RECIPES
from test_imports import FILES


def room(module):
    return module.split(".")[0]


def tree(source):
    return list(ast.walk(ast.parse(source)))


# Law 2: nothing but methods, recipes and verbs knows a method by its name.

KNOWN = {*METHODS, *RECIPES} | {
    kind.__name__ for entry in METHODS.values() for kind in (entry.method, entry.config)
}
"""Methods, their classes and settings, and recipes."""
OTHERWISE = {
    "encoders.official": "*",  # a file for each project whose weights are read
    "encoders.resample": {"dino", "mae"},  # rules of resizing positions, as in those projects
    "evaluation.protocols": {"moco", "dino", "mae"},  # linear probes of the authors' own scripts
    "runs.earlier": {"mae"},  # what 0.1.0 wrote
    "views.image.blocks": {"context"},  # the blocks of an image that I-JEPA shows
}
"""Module -> words that mean something else there."""


def named_methods(module, source):
    """Strings without spaces that are such a name, or have one between dashes and dots."""
    allowed = next((w for at, w in OTHERWISE.items() if f"{module}.".startswith(f"{at}.")), ())
    found = []
    for node in tree(source):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            words = {node.value, *re.split(r"[-./:]", node.value)} & KNOWN
            if " " not in node.value and words and allowed != "*":
                found += [] if words <= set(allowed) else [node.value]
    return found


def test_nothing_below_recipes_names_a_method():
    for path, module in FILES.items():
        if room(module) not in ("methods", "recipes", "verbs"):
            assert named_methods(module, path.read_text()) == [], module


@pytest.mark.parametrize(
    ("module", "source", "bad"),
    [
        ("training.loop", "if name == 'mae' or name == 'maes': pass", 1),
        ("training.loop", "if type(method).__name__ == 'BarlowTwins': pass", 1),
        ("diagnosis.alarms", "if type(config).__name__ == 'DINOConfig': pass", 1),
        ("evaluation.knn", "if run.recipe in ('pirl-imagenet', 'avid-kinetics'): pass", 2),
        ("views.pipeline", "if recipe.startswith('dino-'): pass", 1),
        ("reports.page", "match name:\n    case 'simclr': pass", 1),
        ("data.loader", "{'byol': 2}", 1),
        ("runs.look", "if name == 'deepcluster': pass", 1),
        ("encoders.choice", "TOKENS = ('mae', 'vit')", 1),
        ("encoders.resample", "if rule == 'moco': pass", 1),
        ("encoders.resample", "if rule == 'mae': pass", 0),
        ("encoders.official.mae", "PROJECT = 'mae'", 0),
        ("training.loop", "'Say what simclr does.'", 0),
    ],
)
def test_the_law_finds_a_method_by_name(module, source, bad):
    assert len(named_methods(module, source)) == bad


# Law 6: labels exist only in evaluation.

HANDS_ON = {"runs.diagnose", "runs.probe", "verbs.diagnose", "verbs.compare.beside"}
"""Who hands through what evaluation has read."""
READS = {"labelled", "listing", "stored", "table"}
"""Files of evaluation that read labels."""


def labels(source):
    """Arguments, attributes, fields and keys that are named a label; classes of folders."""
    found = []
    for node in tree(source):
        name = ""
        if isinstance(node, ast.arg | ast.keyword):
            name = node.arg or ""
        elif isinstance(node, ast.Attribute):
            name = node.attr
            text = ast.unparse(node)
            found += [text] if text.endswith(".parent.name") else []
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = node.value if re.fullmatch("labels?(\\.npz)?", node.value) else ""
        elif isinstance(node, ast.Subscript) and ast.unparse(node).endswith(".parts[-2]"):
            found.append(ast.unparse(node))
        elif isinstance(node, ast.ImportFrom) and node.module:
            of, _, file = node.module.rpartition(".")
            read = [file, *(a.name for a in node.names)] if of.startswith("manyviews") else []
            if ".evaluation" in f"{node.module}." and READS & set(read):
                found.append(node.module)
        if re.search(r"(^|_)labels?($|_|\.)", name):
            found.append(name)
    return found


def test_labels_exist_only_in_evaluation():
    for path, module in FILES.items():
        if room(module) == "evaluation" or module in HANDS_ON:
            continue
        found = set(labels(path.read_text()))
        if module == "data.idx":  # the format of both files; who asks for labels is in evaluation
            found -= {"labels"}
        if module == "verbs.evaluate":
            found -= {"manyviews.evaluation.stored"}  # hands on features with theirs
        assert found == set(), module


@pytest.mark.parametrize(
    ("source", "bad"),
    [
        ("def forward(self, batch, labels): pass", 1),
        ("y = batch.label", 1),
        ("@dataclass\nclass Batch:\n    label: Tensor", 1),
        ("loss(z, soft_labels=y)", 1),
        ("y = item['label']", 1),
        ("kind = path.parent.name", 1),
        ("kind = path.parts[-2]", 1),
        ("from manyviews.evaluation.labelled import open_labelled", 1),
        ("from manyviews.evaluation import labelled", 1),
        ("from manyviews.evaluation.knn import knn", 0),
        ("'With labels, which training never saw'", 0),
        ("place = path.parent / name", 0),
    ],
)
def test_the_law_finds_labels(source, bad):
    assert len(labels(source)) == bad


def test_a_batch_has_no_label_and_a_method_is_given_none():
    assert [f.name for f in dataclasses.fields(Batch)] == ["views", "index", "cues"]
    assert [f.name for f in dataclasses.fields(Given)] == ["encoders", "samples", "teachers"]


OF_A_SOURCE = {"spec", "digest", "streams", "stack", "open", "name", "raw"}
"""All that training can ask a source for."""
MORE = {
    sources.Files: {"channels", "manifest", "read", "header"},
    sources.Media: {"manifest"},
    sources.Stored: {"channels", "array", "read", "header"},
    store.Kept: {"channels", "inner", "read", "header", "store", "close"},
    Packed: {"about", "channels", "folder", "path", "paths", "read", "header"},
}
"""Kind of source -> what else it has. A name more is a decision: none may tell a class."""


def test_a_source_tells_nothing_but_samples():
    assert public(Source) == OF_A_SOURCE


@pytest.mark.parametrize("kind", MORE, ids=lambda kind: kind.__name__)
def test_no_kind_of_source_tells_more(kind):
    assert public(kind) - OF_A_SOURCE == MORE[kind]


def public(kind):
    """Names of a class and of what its methods set."""
    fields = {*vars(kind), *getattr(kind, "__annotations__", {})}
    made = tree(textwrap.dedent(inspect.getsource(kind)))
    fields |= {
        n.attr for n in made if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)
    }
    return {name for name in fields if not name.startswith("_")}


# Law 9: what differs by kind of input is in a table by kind.

INPUTS = {"Pixels", "Frames", "LogMel", "Points"}
BY_KIND = {
    "runs.assemble": 2,  # memory order of convolutions over images: speed alone
    "runs.embedder": 2,  # `pixels` refuses others; the words of a rule that files have kept
    "runs.evaluate": 3,  # fine-tuning, corruptions and raw pixels, which are for images alone
    "verbs.doctor": 1,  # sounds have no side in pixels to tell of
    "verbs.train": 1,  # a recipe for images goes on from an encoder of images
}
"""Module -> questions of the kind of an input."""


def by_kind(source):
    """Questions of the kind of an input, where a table could answer."""
    found = []
    for node in tree(source):
        asked = ""
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
            asked = ast.unparse(node.args[1])
        elif isinstance(node, ast.Compare) and "type(" in ast.unparse(node):
            asked = ast.unparse(node)
        elif isinstance(node, ast.MatchClass):
            asked = ast.unparse(node.cls)
        if set(re.findall(r"\w+", asked)) & INPUTS:
            found.append(ast.unparse(node))
    return found


def test_nobody_above_views_decides_by_the_kind_of_an_input():
    for path, module in FILES.items():
        if room(module) in ("runs", "verbs", "training", "data", "diagnosis", "reports"):
            assert len(by_kind(path.read_text())) == BY_KIND.get(module, 0), module


@pytest.mark.parametrize(
    ("source", "bad"),
    [
        ("if isinstance(fed, Pixels): pass", 1),
        ("if not isinstance(fed, Frames | LogMel): pass", 1),
        ("if type(fed) is Pixels: pass", 1),
        ("match fed:\n    case LogMel(): pass", 1),
        ("if isinstance(fed, Path): pass", 0),
        ("made = PLAIN[type(fed)]", 0),
    ],
)
def test_the_law_finds_who_decides_by_kind(source, bad):
    assert len(by_kind(source)) == bad


# Law 10: one word, one meaning.

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
    assert {name: at for name, at in found.items() if PAPERS not in at} == {}


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
