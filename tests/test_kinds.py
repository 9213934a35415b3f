"""Law 9 of docs/architecture.md: what differs by kind of input or stream is in a table by kind."""

import ast
import re

import pytest

from test_imports import FILES


def room(module):
    return module.split(".")[0]


def tree(source):
    return list(ast.walk(ast.parse(source)))


KINDS = {"Pixels", "Frames", "LogMel", "Points"}  # of inputs
KINDS |= {
    "Crops",
    "Clips",
    "Sounds",
    "Clouds",
    "CropMaker",
    "ImageConfig",
}  # of families, of settings
STREAMS = {"image", "video", "audio", "points"}
ITSELF = ("data.streams", "views.audio", "views.image", "views.points", "views.video")
"""Folders of one stream."""
BY_KIND = {
    "core.inputs": 1,  # which settings of a file have a mean for each channel
    "data.doctor.media": 2,  # a side in pixels, where there are pictures
    "data.doctor.sounds": 1,  # what it examines has a stream of that name
    "data.doctor.videos": 4,  # what it examines has streams of those names
    "data.pack.videos": 2,  # what it copies has streams of those names
    "data.sources": 2,  # images have sources of their own: built in, packed, decoded apart; frames
    "data.store": 1,  # keeps images
    "data.survey": 2,  # the side of videos
    "data.worth": 3,  # whether it pays to keep images
    "encoders.catalog": 1,  # `sees_images`, which others ask
    "evaluation.features": 2,  # words, and cache keys that files have kept
    "evaluation.identity": 2,  # a grey image is the same in one channel and in three
    "evaluation.labelled": 4,  # labels of images come in more forms
    "parts.mismatch": 1,  # how long what is fed lasts, where it has time
    "parts.teaching": 3,  # only images are brought from one input to another
    "recipes.contrastive.cpc": 1,  # the one encoder of a recipe for images, by its name
    "recipes.contrastive.pirl": 1,
    "recipes.presets": 1,  # what may be turned: plain crops
    "recipes.pretext.context": 1,
    "recipes.pretext.jigsaw": 1,
    "recipes.video.dpc": 1,
    "recipes.video.temporal": 1,
    "runs.assemble": 3,  # memory order of convolutions over images, and channels to decode to
    "runs.budget": 1,  # what an image costs grows with its side
    "runs.embedder": 2,  # `pixels` refuses others; the words of a rule that files have kept
    "runs.evaluate": 2,  # fine-tuning and corruptions, which are for images alone
    "runs.facts": 1,  # a survey looks at images
    "runs.geometry": 1,  # clouds alone have points above one another
    "runs.look": 3,  # an image is read once for all views; patches are of images
    "runs.placed": 1,  # masks and boxes lie beside images
    "verbs.columns": 1,  # a column of that name
    "verbs.doctor": 1,  # images are examined one by one
    "verbs.export.from_pixels": 1,  # only what is normalised by channels has pixels
    "verbs.train": 2,  # a recipe for images goes on from an encoder of images
    "views.pipeline": 10,  # the engine makes all crops of a batch at once; a family by itself
}
"""Module -> questions of the kind of an input or of a stream, where no table answers. One more is a
decision: another stream would have to answer it too."""


def by_kind(source):
    """Questions of the kind of an input or of a family, and of a stream's name."""
    found = []
    for node in tree(source):
        asked, said = "", ast.unparse(node) if isinstance(node, ast.expr) else ""
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
            asked = ast.unparse(node.args[1])
        elif isinstance(node, ast.Compare) and "type(" in said:
            asked = said
        elif isinstance(node, ast.MatchClass):
            asked = ast.unparse(node.cls)
        if set(re.findall(r"\w+", asked)) & KINDS or by_name(node) or by_field(node):
            found.append(said or asked)
    return found


def by_name(node):
    """Whether it compares with a stream's name, or takes something by that name."""
    if isinstance(node, ast.Compare | ast.MatchValue):
        asked = list(ast.walk(node))
    elif isinstance(node, ast.Subscript):
        asked = [node.slice]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        asked = node.args[:1] if node.func.attr in ("get", "startswith", "index", "count") else []
    else:
        return False
    return any(isinstance(n, ast.Constant) and n.value in STREAMS for n in asked)


def by_field(node):
    """Whether it asks if an input has some field, by which one kind is told from another."""
    if not (isinstance(node, ast.Call) and ast.unparse(node.func) in ("hasattr", "getattr")):
        return False
    optional = ast.unparse(node.func) == "hasattr" or len(node.args) == 3
    return optional and bool(re.search(r"(^|\.)(input|fed)$", ast.unparse(node.args[0])))


def test_nobody_decides_by_the_kind_of_an_input_or_stream_unlisted():
    for path, module in FILES.items():
        # a method for video and sound may say so
        if room(module) != "methods" and not module.startswith(ITSELF):
            found = by_kind(path.read_text())
            assert len(found) == BY_KIND.get(module, 0), (module, found)


@pytest.mark.parametrize(
    ("source", "bad"),
    [
        ("if isinstance(fed, Pixels): pass", 1),
        ("if not isinstance(fed, Frames | LogMel): pass", 1),
        ("if type(fed) is Pixels: pass", 1),
        ("match fed:\n    case LogMel(): pass", 1),
        ("if isinstance(fed, Path): pass", 0),
        ("heard = any(plan.of == 'audio' for plan in plans)", 1),
        ("if hasattr(e.input, 'bins') or getattr(fed, 'bins', 0): pass", 2),
        ("if tuple(streams) != ('image',): pass", 1),
        ("if 'video' in source.streams: pass", 1),
        ("match plan.of:\n    case 'audio': pass", 1),
        ("pixels = source.stack['image']", 1),
        ("pixels = source.stack.get('image')", 1),
        ("if isinstance(plan, Clips): pass", 1),
        ("streams = ('video', 'audio')", 0),
        ("name = getattr(fed, name)", 0),
        ("made = PLAIN[type(fed)]", 0),
    ],
)
def test_the_law_finds_who_decides_by_kind(source, bad):
    assert len(by_kind(source)) == bad
