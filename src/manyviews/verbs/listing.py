"""`manyviews list`: what there is, a line each.

Files are read and not imported, since torch takes seconds.
"""

import inspect
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from manyviews.core.in_words import InWords
from manyviews.core.lazy import about, written
from manyviews.verbs.parse import Positional, one_of

_TESTED = (
    "In brackets: the public code that loss and gradient equal, or what of it; the paper's formula "
    "where there is none.\nOf each the tests hold the contract, the gradient on two processes "
    "against one, and kill -9 and resume bit for bit."
)


_KNN = (
    "kNN: accuracy on the built-in images after the same work of all encoders, where it was "
    "measured (docs/results.md)."
)
_SAME = "Your own data, sized to the images and the hardware"
_PLAIN = (
    f"A plain name: {_SAME[0].lower()}{_SAME[1:]}. With -imagenet, -kinetics and the like: the\n"
    "authors' hyper-parameters. `manyviews doctor DATA` recommends one for what your files are."
)
MEASURED = Path(__file__).parent.parent / "methods" / "measured.json"
"""What `bench/methods.py` found: kNN accuracy of each method's own recipe, and what is beside."""


@dataclass(frozen=True, kw_only=True)
class Listed(InWords):
    """Names, each with a line about it.

    Attributes:
        items: name -> the line.
        about: of all of them.
    """

    items: dict[str, str]
    about: str = ""

    def lines(self) -> list[str]:
        """For people."""
        width = max(map(len, self.items)) + 2
        said = [f"{name:<{width}}{line}".rstrip() for name, line in self.items.items()]
        return [*said, "", self.about] if self.about else said


def listing(
    what: Positional[Literal["recipes", "methods", "encoders", "protocols"]],
) -> Listed:
    """List what there is, a line each.

    Args:
        what: recipes, methods, encoders or protocols.
    """
    one_of("what", what, ["recipes", "methods", "encoders", "protocols"])
    if what == "protocols":
        features = written("manyviews.evaluation.protocols", "PROTOCOLS")
        images = written("manyviews.evaluation.image.settings", "IMAGE_PROTOCOLS")
        tokens = written("manyviews.evaluation.settings", "TOKEN_PROTOCOLS")
        pairs = written("manyviews.evaluation.settings", "PAIR_PROTOCOLS")
        dense = written("manyviews.evaluation.dense.settings", "DENSE_PROTOCOLS")
        items = {name: about(function) for name, [function] in features.items()}
        others = tokens | pairs | images | dense
        return Listed(items=items | {name: line for name, [line] in others.items()})
    if what == "encoders":
        kinds = written("manyviews.encoders.catalog", "KINDS")
        own = {
            model: about(config)
            for name, (config, _, *models) in kinds.items()
            for model in models or (name,)
            if name != "timm"
        }
        loaded: Any = sys.modules.get("manyviews.encoders.catalog")
        if loaded is not None:  # by whoever may have added some
            own = loaded.kinds()
        return Listed(items=own | dict.fromkeys(_timms(), ""))
    if what == "methods":
        catalog = written("manyviews.methods.catalog", "METHODS")
        held = {n: (about(method), *held) for n, (method, _, *held) in catalog.items()}
        loaded = sys.modules.get("manyviews.methods.catalog")
        if loaded is not None:
            entries = loaded.METHODS.items()
            held = {n: (first_line(e.method), *([e.held] if e.held else [])) for n, e in entries}
        known = json.loads(MEASURED.read_text(encoding="utf-8"))
        items = {n: f"{said} [{_proofs(n, code, known)}]" for n, (said, *code) in held.items()}
        beside = ", ".join(f"{name} {value:.2f}" for name, value in known["beside"].items())
        return Listed(items=items, about=f"{_TESTED}\n{_KNN} Beside: {beside}.")
    from manyviews.recipes import RECIPES

    ideas = written("manyviews.methods.catalog", "METHODS")
    items = {name: _with_idea(RECIPES.about(name), *ideas.get(name, ())[:1]) for name in RECIPES}
    return Listed(items=items, about=_PLAIN)


def _with_idea(line: str, method: str = "") -> str:
    """What a recipe of one's own data says, or where that is the same of all, the method's idea."""
    if not method or not line.startswith(_SAME):
        return line
    rest = line.removeprefix(_SAME).strip(" ,;:.")
    return f"{about(method)} {rest[:1].upper()}{rest[1:]}{'.' if rest else ''}".rstrip()


def _proofs(name: str, code: Sequence[str], known: Mapping[str, Mapping[str, float]]) -> str:
    """What a method is held against, and what it was measured at."""
    said = [*(code or ("formula",))]
    if name in known["methods"]:
        said.append(f"kNN {known['methods'][name]:.2f}")
    return "; ".join(said)


def first_line(thing: object) -> str:
    """What a docstring begins with."""
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def _timms() -> list[str]:
    """Names of timm's models, in its own order: those that its files register."""
    found: set[str] = set()
    spec = find_spec("timm")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in Path(folder, "models").glob("*.py"):
            text = path.read_text(encoding="utf-8")
            found |= set(re.findall(r"^@register_model\s*\n(?:@.*\n)*def (\w+)\(", text, re.M))
    return sorted(found, key=_natural)


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(p), "") if p.isdigit() else (-1, p) for p in re.split(r"(\d+)", name)]
