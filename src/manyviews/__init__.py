"""manyviews: self-supervised learning on unlabelled images, from a folder to an encoder.

The verbs are functions here: `manyviews.train("simclr", data="photos", out="run")`,
`manyviews.load("run")`. They are imported when they are first used, since torch takes seconds.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from manyviews.runs.subject import load
    from manyviews.verbs.compare import compare
    from manyviews.verbs.demo import demo
    from manyviews.verbs.diagnose import diagnose
    from manyviews.verbs.doctor import doctor
    from manyviews.verbs.embed import embed
    from manyviews.verbs.evaluate import evaluate
    from manyviews.verbs.evolve import evolve
    from manyviews.verbs.export import export
    from manyviews.verbs.listing import listing
    from manyviews.verbs.pack import pack
    from manyviews.verbs.report import report
    from manyviews.verbs.resume import resume
    from manyviews.verbs.search import search
    from manyviews.verbs.see import see
    from manyviews.verbs.train import train

__all__ = [
    "compare",
    "demo",
    "diagnose",
    "doctor",
    "embed",
    "evaluate",
    "evolve",
    "export",
    "listing",
    "load",
    "pack",
    "report",
    "resume",
    "search",
    "see",
    "train",
]


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])  # what is not imported yet, for completion


def __getattr__(name: str) -> Any:
    if name in __all__:
        from manyviews.verbs import verb_of

        return verb_of(name)
    raise AttributeError(f"module 'manyviews' has no attribute '{name}'")
