"""Files that are whole or not there, and records a line each."""

import json
import os
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from manyviews.core import Failure


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
        raise Failure(
            f"Cannot write {path}: {error.strerror or error}. Free some space or choose another "
            "place."
        ) from error


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a JSON-lines file; a half line at the end of a killed run is left out."""
    if not path.exists():
        return []
    records: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records
