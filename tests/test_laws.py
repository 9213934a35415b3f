"""Laws 2 and 6 of docs/architecture.md, which are about words: methods' names, and labels.

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
    "encoders.settings": {"joint"},  # attention over space and time at once
    "encoders.coded": {"tokenizer"},  # what gives it its codes
    "encoders.tubelets": {"joint"},
    "encoders.resample": {"dino", "dinov2", "mae"},  # those projects' rules for positions
    "evaluation.protocols": {"moco", "dino", "dinov2", "mae", "MAE"},  # the authors' probes
    "evaluation.knn": {"DINO"},  # whose temperature it is
    "evaluation.image.settings": {"MAE"},  # whose fine-tuning it is
    "evaluation.settings": {"CAPI"},  # whose probe it is
    "diagnosis.explain": {"BYOL", "DINO", "SimSiam", "data2vec"},  # what papers found, of whom
    "data.pack.make": {"simclr"},  # a command to go on with
    "runs.earlier": {"mae"},  # what 0.1.0 wrote
    "views.image.blocks": {"context"},  # the blocks of an image that I-JEPA shows
    "views.image.single": {"rotation"},  # an augmentation
}
"""Module -> words that mean something else there."""


def docstrings(nodes):
    """What stands alone as a statement."""
    lone = [n.value for n in nodes if isinstance(n, ast.Expr)]
    return {id(n) for n in lone if isinstance(n, ast.Constant)}


def named_methods(module, source):
    """Strings but docstrings with such a name in them, and arguments, as in dict(mae=1)."""
    allowed = next((w for at, w in OTHERWISE.items() if f"{module}.".startswith(f"{at}.")), ())
    nodes, found = tree(source), []
    said = docstrings(nodes)
    for node in nodes:
        words = set()
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            text = node.value
            words = {text, *re.split(r"[^\w-]+", text), *re.split(r"\W+", text)} & KNOWN
        elif isinstance(node, ast.keyword):
            words = {node.arg} & KNOWN
        if words and allowed != "*" and not words <= set(allowed):
            found.append(ast.unparse(node))
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
        ("training.optim", "_LONGER = dict(mae=0.1, simclr=0.05)", 2),
        ("diagnosis.alarms", "advice = ('a higher --method.variance (VICReg), or ' 'none')", 1),
        ("diagnosis.alarms", "advice = f'of {name}, as in SimCLR'", 1),
        ("diagnosis.alarms", "advice = 'a higher --method.variance'", 0),
    ],
)
def test_the_law_finds_a_method_by_name(module, source, bad):
    assert len(named_methods(module, source)) == bad


# Law 6: labels exist only in evaluation.

HANDS_ON = {"runs.dense", "runs.detect", "runs.discover", "runs.propagate"}
HANDS_ON |= {"runs.diagnose", "runs.probe", "verbs.diagnose", "verbs.compare.beside"}
"""Who hands through what evaluation has read."""
READS = {"boxed", "labelled", "listing", "masked", "stored", "table", "videos"}
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


TELLS = {
    "runs.report": 1,  # captions of the map
    "runs.predict": 1,  # paths beside features
    "runs.rcdm": 1,  # captions of pictures
    "runs.see": 1,  # likewise
    "runs.strips": 3,  # captions of rows of pictures
    "verbs.columns": 2,  # the files that a column names
    "verbs.embed": 1,  # names beside features
    "verbs.search": 1,  # which images are alike
}
"""Module -> how often it asks for a sample's name, which may have its class in it, for people."""


def names_of_samples(source):
    """Where a source is asked what a sample is called, or that is handed on as a function."""
    nodes = tree(source)
    called = [n.func for n in nodes if isinstance(n, ast.Call) and n.args]
    found = [n for n in called if isinstance(n, ast.Attribute) and n.attr == "name"]
    handed = [n for n in nodes if isinstance(n, ast.Attribute) and n not in called]
    return found + [n for n in handed if re.search(r"(source|samples)\.name$", ast.unparse(n))]


def test_names_of_samples_reach_people_alone():
    for path, module in FILES.items():
        if room(module) not in ("data", "evaluation"):
            assert len(names_of_samples(path.read_text())) == TELLS.get(module, 0), module


@pytest.mark.parametrize(
    ("source", "bad"),
    [
        ("item.kind = source.name(index).rsplit('/', 2)[-2]", 1),
        ("kinds = map(self.source.name, index)", 1),
        ("asked = assembly.source.name\nkind = asked(3)", 1),
        ("text = path.name + catalog.name_of(config)", 0),
        ("self.name = samples.names", 0),
    ],
)
def test_the_law_finds_who_asks_what_a_sample_is_called(source, bad):
    assert len(names_of_samples(source)) == bad


def test_a_batch_has_no_label_and_a_method_is_given_none():
    assert [f.name for f in dataclasses.fields(Batch)] == ["views", "index", "cues"]
    given = ["encoders", "samples", "teachers", "build"]
    assert [f.name for f in dataclasses.fields(Given)] == given


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
