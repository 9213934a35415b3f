"""Files that are whole or not there, and records a line each."""

import errno
import json
import math
import os
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from manyviews.core import Failure

_ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "Free some space or choose"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "Make that writable or choose"),
}


@contextmanager
def atomic(path: Path) -> Generator[Path]:
    """A temporary path beside `path` that takes its place when the block ends without an error.

    The data reach the disk first; parents are made.

    Raises:
        Failure: the file cannot be written there.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "Choose")
        raise Failure(
            f"Cannot write {path}: {error.strerror or error}. {advice} another place."
        ) from error


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write a .npy, whole or not at all.

    Raises:
        Failure: the file cannot be written there.
    """
    with atomic(path) as draft, draft.open("wb") as file:
        np.lib.format.write_array(_Stream(file), array, allow_pickle=False)


class _Stream:
    """Hides from numpy that this is a file: its own way into one forgets why the disk refused."""

    def __init__(self, file: BinaryIO) -> None:
        self.write = file.write


def json_text(value: Any, *, default: Callable[[Any], Any] | None = None) -> str:
    """Strict JSON, indented: a number that is not finite becomes null, as other readers want.

    Args:
        value: to be written.
        default: as for `json.dumps`.
    """
    return json.dumps(_strict(value), indent=2, default=default, allow_nan=False)


def _strict(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: _strict(one) for name, one in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_strict(one) for one in cast("list[Any]", value)]
    return value


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a JSON-lines file; what is no JSON object is left out.

    A run that was killed may end in half a line.
    """
    if not path.exists():
        return []
    records: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            records.append(cast("dict[str, Any]", record))
    return records


def write_json(path: Path, value: Any) -> None:
    """Write a small JSON document, whole or not at all."""
    with atomic(path) as draft:
        draft.write_text(json_text(value) + "\n", encoding="utf-8")
