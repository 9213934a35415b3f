"""Where data lie, and what is in them wherever that is: data may move while a run does not."""

import hashlib
import os
from pathlib import Path

import numpy as np

from manyviews.core.sample import Source
from manyviews.data.manifest import Manifest
from manyviews.data.sources import FRAMES

_WHOLE = 256 << 20
"""Bytes up to which all files of a data set are read."""
_FILES, _HEAD = 1000, 1 << 16
"""Of larger ones the beginnings of so many files, of so many bytes."""


def absolute(spec: str) -> str:
    """A DATA argument that means the same from any folder."""
    kind, colon, rest = spec.partition(":")
    if colon and kind == "fashion-mnist" and rest:
        return f"{kind}:{_whole(rest)}"
    if colon and kind == FRAMES:
        where, at, rate = rest.rpartition("@")
        return f"{kind}:{_whole(where)}{at}{rate}" if where else spec
    return _whole(spec) if _is_path(spec) else spec


def _whole(path: str) -> str:
    """From the root; without "..", unless that would lead past a link."""
    whole = Path(path).expanduser().absolute()
    short = Path(os.path.normpath(whole))
    same = not whole.exists() or (short.exists() and short.samefile(whole))
    return str(short if same else whole)


def is_gone(spec: str) -> bool:
    """Whether a DATA argument is a path that leads nowhere."""
    return _is_path(spec) and not os.path.exists(Path(spec).expanduser())  # noqa: PTH110 - never raises


def _is_path(spec: str) -> bool:
    return bool(spec) and spec.partition(":")[0] not in ("builtin", "fashion-mnist", FRAMES)


def root(spec: str) -> str:
    """What stands before the names of the samples of a folder, or of a list (a file of paths)."""
    if spec.partition(":")[0] == FRAMES:
        spec = spec.partition(":")[2].rpartition("@")[0]
    path = Path(spec).expanduser()
    return str(path.parent if path.suffix == ".txt" or path.is_file() else path)


def contents(source: Source) -> str:
    """A hash of what is in a data set, however often it was copied since.

    Of files: every path below the root, every size, and the bytes of all, up to 256 MiB; where
    there are more, the first 64 KiB of 1,000 of them, evenly spaced. So an edit that keeps a large
    file's size and its beginning is not seen. What lies in memory or in a pack has such a hash
    already.
    """
    manifest = getattr(source, "manifest", None)
    if not isinstance(manifest, Manifest):
        return source.digest
    total, files = hashlib.sha256(), manifest.files
    above = [file.path for file in files if file.path.startswith(os.sep)]
    common = os.path.commonpath([Path(path).parent for path in above]) if above else ""
    for file in files:
        total.update(os.fsencode(file.path.removeprefix(common)) + f"\0{file.size}\0".encode())
    everything = sum(max(0, file.size) for file in files) <= _WHOLE
    count = len(files) if everything else min(len(files), _FILES)
    for index in np.unique(np.linspace(0, len(files) - 1, count).astype(int)).tolist():
        total.update(_beginning(manifest.root / files[index].path, _WHOLE if everything else _HEAD))
    return total.hexdigest()


def _beginning(path: Path, size: int) -> bytes:
    """The hash of a file's first bytes; of one that cannot be read, the reason."""
    try:
        if path.is_dir():  # of frames
            each = (_beginning(file, size) for file in sorted(path.iterdir()) if file.is_file())
            return hashlib.sha256(b"".join(each)).digest()
        with path.open("rb") as file:
            return hashlib.sha256(file.read(size)).digest()
    except OSError as error:
        return str(error.strerror).encode()
