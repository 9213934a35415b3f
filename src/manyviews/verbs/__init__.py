"""What users do, a file a verb. A verb's signature serves Python and the command line.

Nothing heavy is imported before a verb's arguments are known to be good.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

HOMES: dict[str, str] = {
    "compare": "manyviews.verbs.compare",
    "demo": "manyviews.verbs.demo",
    "diagnose": "manyviews.verbs.diagnose",
    "doctor": "manyviews.verbs.doctor",
    "embed": "manyviews.verbs.embed",
    "evaluate": "manyviews.verbs.evaluate",
    "evolve": "manyviews.verbs.evolve",
    "export": "manyviews.verbs.export",
    "listing": "manyviews.verbs.listing",
    "load": "manyviews.runs.subject",
    "pack": "manyviews.verbs.pack",
    "report": "manyviews.verbs.report",
    "resume": "manyviews.verbs.resume",
    "search": "manyviews.verbs.search",
    "see": "manyviews.verbs.see",
    "train": "manyviews.verbs.train",
}
"""Function -> where it is defined: what `import manyviews` offers, imported when first used."""


def verb_of(name: str) -> Callable[..., Any]:
    """The function of a verb; the command line calls `listing` list."""
    name = "listing" if name == "list" else name
    return getattr(import_module(HOMES[name]), name)
