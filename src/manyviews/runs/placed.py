"""Protocols on places in an image, each with its own files, chosen by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from manyviews.core import UsageError
from manyviews.core.inputs import Pixels
from manyviews.core.settings import check
from manyviews.evaluation.dense.settings import DENSE_PROTOCOLS
from manyviews.evaluation.result import Beside
from manyviews.runs.dense import DenseTask, masked_parts, segmented
from manyviews.runs.detect import boxed_parts, detected
from manyviews.runs.discover import boxed_whole, discovered
from manyviews.runs.embedder import Embedder
from manyviews.runs.propagate import masked_videos, propagated

READS = {
    "segmentation": "masks",
    "detection": "boxes",
    "propagation": "masks of frames",
    "discovery": "boxes",
}
"""Protocol -> what it reads beside images, in words."""


@dataclass(frozen=True)
class _Way:
    """How a protocol opens its parts, which can tell their `content`, and what it does on them."""

    parts: Callable[[Embedder, DenseTask], Sequence[Any]]
    measure: Callable[[Embedder, Any, DenseTask, Any], Beside]


_WAYS = {
    "segmentation": _Way(masked_parts, segmented),
    "detection": _Way(boxed_parts, detected),
    "propagation": _Way(masked_videos, propagated),
    "discovery": _Way(boxed_whole, discovered),
}


def dense_of(names: Sequence[str], subject: Embedder, **given: object) -> bool:
    """Whether protocols read masks or boxes; each goes alone, on encoders of images with tokens.

    Args:
        names: as asked for.
        subject: the encoder.
        given: flag -> its value, of those that are for pooled features.

    Raises:
        UsageError: asked together with others, or of an encoder or with flags that it is not for.
    """
    dense = [name for name in names if name in DENSE_PROTOCOLS]
    if not dense:
        return False
    others = [name for name in names if name != dense[0]]
    if others:
        reads = "labels of whole images" if others[0] not in dense else "other files"
        raise UsageError(
            f"{dense[0]} reads {READS[dense[0]]} and {others[0]} {reads}. Ask for one at a time."
        )
    asked = [f"--{name} {value}" for name, value in given.items() if value]
    if asked:
        raise UsageError(f"{asked[0]} is for features of whole images. Leave it out.")
    if not isinstance(subject.input, Pixels) or len(subject.encoder.grid) != 2:
        raise UsageError(
            f"{dense[0]} is for encoders of images, and this one is fed "
            f"{type(subject.input).__name__}."
        )
    return True


def placed(
    name: str, subject: Embedder, asked: DenseTask, told: Mapping[str, object]
) -> tuple[Beside, Callable[[], str]]:
    """A protocol's result, and what tells the hash of what it read.

    Args:
        name: of `DENSE_PROTOCOLS`.
        subject: the encoder.
        asked: data, and how they are read.
        told: protocol -> its settings, of those that have some.
    """
    settings = told.get(name)
    if settings is not None:
        check(settings, f"{name}.")
    parts = _WAYS[name].parts(subject, asked)
    one = _WAYS[name].measure(subject, parts, asked, settings)
    return one, lambda: ", ".join(part.content() for part in parts)
