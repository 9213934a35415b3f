"""What is known of samples beside their pixels: columns of a CSV, folders, parts of file names.

It makes pairs of samples (`data.pairs`) and colours a report's map. No batch has it.
"""

import os
import re
from pathlib import Path

from manyviews.core import UsageError
from manyviews.core.sample import Source
from manyviews.data.manifest import Manifest
from manyviews.data.pack.read import Packed
from manyviews.data.table import ENDINGS, Sheet, is_table, read_table

FORMS = "a column of the CSV that is --data, FILE.csv:COLUMN, folder:N, or name:PATTERN"
"""What `values` takes, for messages."""


def values(source: Source, spec: str, *, flag: str) -> list[str]:
    """One value of each sample, "" where none is known.

    Args:
        source: files, or a pack of files.
        spec: see `FORMS`.
        flag: that gave it, for messages.

    Raises:
        UsageError: it names nothing, or nothing that these samples have.
    """
    said = f"{flag} {spec}"
    paths = _paths(source, said)
    kind, colon, rest = spec.partition(":")
    if spec == "folder" or (colon and kind == "folder"):
        return _folders(paths, rest, said)
    if colon and kind == "name":
        return _found(paths, rest, said)
    file, colon, column = spec.rpartition(":")
    if colon and Path(file).suffix.lower() in ENDINGS:
        return _of_table(source, paths, _opened(Path(file).expanduser(), said), column, said)
    whole = Path(source.spec).expanduser()
    if not is_table(whole):
        raise UsageError(
            f"{said} is a column, and {source.spec} is no CSV with columns. Give {FORMS}."
        )
    return _of_table(source, paths, read_table(whole), spec, said)


def from_anywhere(spec: str) -> str:
    """The same, which means the same from any folder."""
    file, colon, column = spec.rpartition(":")
    if colon and Path(file).suffix.lower() in ENDINGS:
        return f"{_whole(file)}:{column}"
    return spec


def _paths(source: Source, said: str) -> list[str]:
    """Of each sample, below the folder that all are in."""
    manifest = getattr(source, "manifest", None)
    if isinstance(manifest, Manifest):
        paths = [file.path for file in manifest.files]
    elif isinstance(source, Packed):
        paths = source.paths()
    else:
        raise UsageError(
            f"{said} groups files, and {source.spec} has none. Give a folder, a list or a CSV."
        )
    if all(path.startswith(os.sep) for path in paths):
        common = os.path.commonpath([Path(path).parent for path in paths])
        return [os.path.relpath(path, common) for path in paths]
    return [os.path.normpath(path) for path in paths]


def _folders(paths: list[str], depth: str, said: str) -> list[str]:
    """The innermost folder, or the first so many; "" for files that are not so deep."""
    if depth and not (depth.isdecimal() and int(depth)):
        raise UsageError(f"{said} wants a number of folders from 1 up: folder:1.")
    parents = [Path(path).parent.parts for path in paths]
    if not depth:
        return ["/".join(parent) or "." for parent in parents]
    chosen = [parent[: int(depth)] for parent in parents]
    found = ["/".join(some) if len(some) == int(depth) else "" for some in chosen]
    if not any(found):
        raise UsageError(
            f"{said}: no file lies so deep; the first is {paths[0]}. Give a smaller number."
        )
    return found


def _found(paths: list[str], pattern: str, said: str) -> list[str]:
    """What a pattern finds in each file's name: its groups, or all of it where it has none."""
    try:
        search = re.compile(pattern).search
    except re.error as error:
        raise UsageError(f"{said} is no regular expression: {error}. Correct it.") from None
    matches = [search(Path(path).name) for path in paths]
    found = ["" if m is None else "\0".join(m.groups("") or (m[0],)) for m in matches]
    if not any(found):
        raise UsageError(
            f"{said} finds nothing in any file's name; the first is "
            f"{Path(paths[0]).name}. Give another pattern."
        )
    return found


def _opened(path: Path, said: str) -> Sheet:
    if not path.is_file():
        raise UsageError(f"{said}: there is no file {path}. Give {FORMS}.")
    return read_table(path)


def _of_table(source: Source, paths: list[str], table: Sheet, column: str, said: str) -> list[str]:
    """A column's value of each sample: rows are found by whole paths, or by those below the data.

    The latter are for packs, and for data that were moved.
    """
    if column not in table.columns:
        raise UsageError(
            f"{said}: {table.path} has no column {column!r}. It has {', '.join(table.columns)}."
        )
    if column in table.several:
        raise UsageError(
            f"{said}: {table.path} has several values for {table.several[column]} there. Keep one."
        )
    given = list(zip(table.names, table.columns[column], strict=True))
    below = {os.path.normpath(name): value for name, value in given}
    whole = {_whole(table.path.parent / name): value for name, value in given}
    known = [whole.get(_whole(source.name(i)), below.get(path)) for i, path in enumerate(paths)]
    if all(value is None for value in known):
        raise UsageError(
            f"{said}: no row of {table.path} is of a file of {source.spec}; the first row is of "
            f"{table.names[0]}, the first file is {paths[0]}. Write paths below either's folder."
        )
    return [value or "" for value in known]


def _whole(path: str | Path) -> str:
    return os.path.normpath(Path(path).expanduser().absolute())
