"""manyviews: self-supervised learning on unlabelled images, from a folder to an encoder.

The verbs are functions here: `manyviews.train("simclr", data="photos", out="run")`,
`manyviews.load("run")`. They are imported when they are first used, since torch takes seconds.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from manyviews.api import (
        compare,
        demo,
        diagnose,
        doctor,
        embed,
        evaluate,
        export,
        listing,
        load,
        pack,
        report,
        resume,
        train,
    )

__all__ = [
    "compare",
    "demo",
    "diagnose",
    "doctor",
    "embed",
    "evaluate",
    "export",
    "listing",
    "load",
    "pack",
    "report",
    "resume",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from manyviews import api

        return getattr(api, name)
    raise AttributeError(f"module 'manyviews' has no attribute '{name}'")
