"""Law 8 of docs/architecture.md: one way from a file to tensors, through data and a pipeline."""

import ast
import re

import pytest

from test_imports import FILES, dotted

MAY_READ = {
    "PIL": (
        "views.image.augmented",  # its operations, of views
        "reports.pictures",
        "evaluation.image.corruptions.digital",
    ),
    "cv2": ("views.image.single", "views.video.flow", "evaluation.image.corruptions"),
    "torchvision": ("evaluation.dense.detector",),  # its detectors
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


LISTED = {
    ("parts.teaching", "finish"): 1,  # views made for another encoder, as a teacher is fed them
    ("evaluation.identity", "stack"): 1,  # a hash of samples as they are stored
}
"""(Module, what it does by itself) -> how often."""


def around_the_pipeline(module, source):
    """What turns a sample into tensors by itself, outside the rooms of data and views (law 8)."""
    if module.split(".")[0] in ("data", "views"):
        return []
    nodes = list(ast.walk(ast.parse(source)))
    families = {  # a family may be made of another
        inner
        for node in nodes
        if isinstance(node, ast.FunctionDef) and node.name == "maker"
        for inner in ast.walk(node)
    }
    found = [said for node in nodes for said in makers_imported(node)]
    for kind in DOES:
        done = {
            (ast.unparse(node), node.lineno)
            for node in nodes
            if node not in families and DOES[kind](node, nodes)
        }
        found += sorted(done)[LISTED.get((module, kind), 0) :]
    return found


def makers_imported(node):
    """Makers, and modules of makers, that an import names."""
    if isinstance(node, ast.ImportFrom):
        for of, names in MAKES_VIEWS.items():
            if f"{node.module}.".startswith(f"{of}."):
                yield from (f"{node.module}.{a.name}" for a in node.names if a.name in names)
                # the module itself: from manyviews.views.image import engine
                yield from (f"{of}.{a.name}" for a in node.names if node.module == of)
    elif isinstance(node, ast.Import):
        below_views = [f"manyviews.views.{kind}" for kind in ("image", "video", "audio")]
        yield from (alias.name for alias in node.names if below(alias.name, below_views))


def called(node):
    """What is called of what: ("a.b", "read") of a.b.read(...)."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return "", ""
    return ast.unparse(node.func.value), node.func.attr


def opens(node, nodes):
    """Opens a sample: by the name of its source, or by position, which no file's mode is."""
    of, verb = called(node)
    if verb != "open" or of in ("os", "Image"):
        return False
    first = node.args[0] if node.args else ast.Constant("r")
    mode = isinstance(first, ast.Constant) and isinstance(first.value, str)
    return bool(re.search(r"(^|\.)(source|samples|data_?set)$", of)) or not mode


def reads(node, nodes):
    """Reads a stream: by its name, or since it was taken by a name, from what was opened."""
    of, verb = called(node)
    if verb != "read":
        return False
    came = [ast.unparse(n.value) for n in nodes if isinstance(n, ast.Assign) if of in said(n)]
    return bool(re.search(r"(^|\.)(source|stream)$", of)) or any(
        re.search(r"\[['\"]\w+['\"]\]$", text) for text in (of, *came)
    )


def said(assignment):
    return [ast.unparse(target) for target in assignment.targets]


def finishes(node, nodes):
    """Normalises by an input, which takes one argument; a pipeline takes a batch's four."""
    of, verb = called(node)
    fed = re.search(r"(^|\.)(input|fed)$", of)
    return verb == "finish" and bool(fed or (len(node.args) == 1 and of != "self"))


def stacks(node, nodes):
    """Takes samples that are in memory."""
    taken = node.value if isinstance(node, ast.Subscript) else None
    taken = node.func.value if called(node)[1] in ("get", "values", "items") else taken
    return taken is not None and ast.unparse(taken).endswith(".stack")


DOES = {
    "open": opens,
    "read": reads,
    "maker": lambda node, nodes: called(node)[1] == "maker",
    "finish": finishes,
    "stack": stacks,
}


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
        ("runs.report", "picture = samples.open(0)['image']\nx = torch.tensor(picture.read())", 2),
        ("runs.report", "one = self.images.open(i)\npicture = one['image']\npicture.read()", 2),
        ("runs.report", "x = assembly.source.stack['image'][0] / 255", 1),
        ("runs.report", "x = source.stack.get('image')", 1),
        ("runs.report", "x = torch.stack([a, b])\nstacked = np.stack(rows)[0]", 0),
        ("verbs.columns", "views = fed.finish(torch.from_numpy(raw))[:, 0]", 1),
        ("runs.embedder", "views = self.input.finish(raw)", 1),
        ("runs.look", "batch = pipeline.finish(raw, hints, where, device)", 0),
        ("runs.look", "with path.open('rb') as file, os.open(path, flags) as x: file.read()", 0),
        ("views.video.plain", "from manyviews.views.image.plain import Plain", 0),
        ("data.survey", "image = source.read(0)", 0),
    ],
)
def test_the_law_finds_what_goes_around_the_pipeline(module, source, bad):
    assert len(around_the_pipeline(module, source)) == bad


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
        ("views.image.single", "import cv2\ncv2.VideoCapture('a.mp4')", 1),
        ("views.image.single", "import cv2 as c\nc.imread('a.png')", 1),
        ("runs.look", "import soundfile\nsoundfile.read('a.wav')", 1),
        ("runs.look", "def f():\n    import av", 1),
        ("runs.look", "import numpy as np\nnp.load('a.npy')", 1),
        ("views.image.plain", "from numpy import load as l", 1),
        ("evaluation.stored", "import numpy as np\nnp.load('a.npy')", 0),
        ("data.doctor.images", "from manyviews.data.streams.image import read", 0),
        ("evaluation.table", "from manyviews.data.streams.image import SUFFIXES", 0),
    ],
)
def test_the_law_finds_who_decodes(module, source, bad):
    assert len(decoders(module, source)) == bad
