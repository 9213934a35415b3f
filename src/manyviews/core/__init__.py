"""The ground: the nouns that every room shares. It imports nothing of ours above it.

`from manyviews.core import Batch, Method, Step` gets them from the file where each is defined, when
it is asked for: a verb that only reads its arguments does not wait for torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from manyviews.core.batch import Batch, Clock, Features, Hide, Step, flat, wide
    from manyviews.core.encoder import Encoder
    from manyviews.core.errors import Failure, Unsupported, UsageError
    from manyviews.core.method import EmbedAll, Given, Group, Method

_HOMES = {
    "batch": ("Batch", "Clock", "Features", "Hide", "Step", "flat", "wide"),
    "encoder": ("Encoder",),
    "errors": ("Failure", "Unsupported", "UsageError"),
    "method": ("EmbedAll", "Given", "Group", "Method"),
}

__all__ = [
    "Batch",
    "Clock",
    "EmbedAll",
    "Encoder",
    "Failure",
    "Features",
    "Given",
    "Group",
    "Hide",
    "Method",
    "Step",
    "Unsupported",
    "UsageError",
    "flat",
    "wide",
]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            from importlib import import_module

            return getattr(import_module(f"manyviews.core.{home}"), name)
    raise AttributeError(f"module 'manyviews.core' has no attribute '{name}'")
