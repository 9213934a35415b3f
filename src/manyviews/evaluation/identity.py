"""Which labelled data a result is of, by content: the same wherever and whenever its files lie."""

import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from manyviews.core import Failure
from manyviews.core.files import atomic
from manyviews.core.sample import Source
from manyviews.evaluation.labelled import Labelled


def content(
    train: Labelled,
    test: Labelled,
    *,
    cache: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> str:
    """SHA-256 of the samples and labels of both parts, in their order.

    File names and times of change are not in it, so a copy is the same data.

    Args:
        train: what is learnt from.
        test: what is tested on.
        cache: a directory where the hash of a part's files is looked for and kept, by their names,
            sizes and times of change; every file is read where it is not there.
        progress: told (samples read, samples in all), of each part.
    """
    total = hashlib.sha256()
    for part in (train, test):
        images = _images(part.source, cache=cache, progress=progress)
        labels = part.labels.numpy()
        total.update(f"{images}\0{part.classes}\0{labels.dtype}{labels.shape}\0".encode())
        total.update(labels.tobytes())
    return total.hexdigest()


def _images(
    source: Source, *, cache: Path | None, progress: Callable[[int, int], None] | None
) -> str:
    """A hash of all images of a part."""
    if "image" in source.stack:
        pixels = source.stack["image"]
        if (pixels == pixels[..., :1]).all():  # grey is the same in one channel and in three
            pixels = pixels[..., :1]
        total = hashlib.sha256(f"{pixels.shape}".encode())
        total.update(pixels.tobytes())
        return total.hexdigest()
    key = hashlib.sha256(f"1\0{source.spec}\0{source.digest}".encode(errors="replace"))
    note = cache / f"images-{key.hexdigest()[:24]}.json" if cache is not None else None
    known = _noted(note)
    if known:
        return known
    found = _files(source, progress=progress)
    if note is not None:
        # where this cannot be kept, features cannot either, and that is said of them
        with contextlib.suppress(Failure), atomic(note) as draft:
            draft.write_text(json.dumps({"sha256": found}), encoding="ascii")
    return found


def _noted(note: Path | None) -> str:
    if note is None:
        return ""
    try:
        known = json.loads(note.read_text(encoding="ascii"))["sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
    return known if isinstance(known, str) else ""


def _files(source: Source, *, progress: Callable[[int, int], None] | None) -> str:
    """A hash over the bytes of all files; a pack without files has one of its own."""
    total = hashlib.sha256()
    for i in range(len(source)):
        try:
            data = source.raw(i)
        except (OSError, ValueError):
            total.update(b"unreadable")
            continue
        if data is None:
            return source.digest
        total.update(hashlib.sha256(data).digest())
        if progress is not None:
            progress(i + 1, len(source))
    return total.hexdigest()
