"""CSV files as people write them: by line what is wrong, and a column of paths among others."""

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from manyviews.core import UsageError

PATHS = (
    *("path", "filepath", "imagepath", "filename", "file", "imagename", "imagefile"),
    *("image", "img", "imageid", "id"),
)
"""Columns of paths, `bare`, in this order where a header has several."""

ENDINGS = frozenset((".csv", ".tsv"))
"""Of the names of such files, in small letters."""


@dataclass(frozen=True)
class Sheet:
    """What a CSV file with a header says of files.

    Attributes:
        path: of the CSV.
        names: paths as listed, each once: absolute, or relative to the folder of the CSV.
        columns: column -> its values, one for each of these paths.
        several: column -> a path that has more than one value there, in several rows.
    """

    path: Path
    names: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]
    several: Mapping[str, str]


def is_table(path: Path) -> bool:
    """Whether it is a CSV with columns, by its ending: a list of paths may have that one too.

    Raises:
        UsageError: not CSV in UTF-8.
    """
    if path.suffix.lower() not in ENDINGS or not path.is_file():
        return False
    lines = read_rows(path)
    return bool(lines) and (len(lines[0][1]) > 1 or bare(lines[0][1][0]) in PATHS)


def read_table(path: Path) -> Sheet:
    """A CSV file with a header that names a column of paths.

    Raises:
        UsageError: not CSV, without a header, or a row of another length (with its line).
    """
    lines = read_rows(path)
    first = lines[0][1] if lines else []
    names = [bare(cell) for cell in first]
    place = next((names.index(name) for name in PATHS if name in names), None)
    if place is None:
        raise UsageError(
            f"{path} has no header with a column of paths; its first line is {','.join(first)!r}. "
            "Begin with a line such as path,patient."
        )
    header = [cell.strip() for cell in first]
    found: dict[str, list[str]] = {}
    several: dict[str, str] = {}
    for number, line in lines[1:]:
        cells = [cell.strip() for cell in line]
        if len(cells) != len(first) or not cells[place]:
            raise UsageError(
                f"Line {number} of {path} is {','.join(line)!r}; wanted {len(first)} columns: "
                f"{','.join(first)}."
            )
        before = found.setdefault(cells[place], cells)
        pairs = zip(header, before, cells, strict=True)
        several |= {name: cells[place] for name, one, other in pairs if one != other}
    if not found:
        raise UsageError(f"{path} holds no rows but its header. Write a file a line into it.")
    columns = zip(*found.values(), strict=True)
    return Sheet(path, tuple(found), dict(zip(header, columns, strict=True)), several)


def bare(name: str) -> str:
    """A name without case, spaces and signs."""
    return re.sub(r"[\W_]+", "", name.lower())


def read_rows(path: Path) -> list[tuple[int, list[str]]]:
    """Rows that are not blank, with the number of their line.

    Raises:
        UsageError: not CSV in UTF-8, with the line.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"Cannot read {path} as CSV: {error}. Columns such as path,label are wanted, in UTF-8."
        ) from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise UsageError(
            f"Line {line} of {path} holds a NUL character. Save it as CSV in UTF-8 (UTF-16 has "
            "such characters)."
        )
    delimiter = next((mark for mark in ",;\t" if mark in text.partition("\n")[0]), ",")
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    lines: list[tuple[int, list[str]]] = []
    while True:
        number = reader.line_num + 1
        try:
            line = next(reader, None)
        except csv.Error as error:
            if "end of data" in str(error) or reader.line_num > number:
                raise UsageError(_open_quote(path, number)) from None
            raise UsageError(f"Cannot read line {number} of {path} as CSV: {error}.") from None
        if line is None:
            return lines
        if reader.line_num > number:
            raise UsageError(_open_quote(path, number))
        if any(line):
            lines.append((number, line))


def _open_quote(path: Path, number: int) -> str:
    return (
        f"Line {number} of {path} has a quotation mark that is not closed on that line. Remove it, "
        'or close it; a quotation mark in a label is written twice, in quotes: "a ""b""".'
    )
