"""Labels in a CSV file, as people write it: with a header or none, and by line what is wrong."""

import stat
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from manyviews.core import UsageError
from manyviews.data.manifest import File
from manyviews.data.sources import Split
from manyviews.data.streams.files import STREAMS
from manyviews.data.streams.image import SUFFIXES
from manyviews.data.table import PATHS, bare, read_rows
from manyviews.evaluation.listing import BETWEEN, LabelledFile, Listing, role, some

_LABELS = ("label", "class", "category", "target", "labelname", "classname", "categoryname")
"""Columns of labels, in this order where a header has several; likewise below."""
_SETS = ("labels", "classes", "categories", "tags")
_SPLITS = ("split", "subset", "set", "partition")


def of_csv(path: Path) -> Listing:
    """The rows of a CSV file.

    Raises:
        UsageError: not CSV, a row that cannot be used (with its line), or no file of all is there.
    """
    lines = read_rows(path)
    width, columns, sets = _columns(path, lines)
    rows = [_csv_row(path, n, line, width, columns, sets=sets) for n, line in lines]
    if not rows:
        raise UsageError(f"{path} holds no rows. Write path,label into it, an image a line.")
    lost = [row.file.path for row, _ in rows if row.file.size < 0]
    if len(lost) == len(rows):
        raise UsageError(
            f"None of the {len(rows)} paths in {path} leads to a file; the first is {lost[0]!r}. "
            f"Paths have their ending (.jpg) and are absolute, or relative to "
            f"{path.parent.resolve()}."
        )
    notes = (
        [f"{path}: {len(lost)} of {len(rows)} paths lead to no file: {some(lost)}."] if lost else []
    )
    several = sets or any(BETWEEN in row.label for row, _ in rows)
    held = "test" if any(part == "test" for _, part in rows) else "validation"
    parts: dict[str, Split] = {"train": "train", held: "test"}
    if "split" in columns:
        left = sum(part not in parts for _, part in rows)
        if left:
            notes.append(f"{path}: {left} of {len(rows)} rows are of a validation part, not used.")
    used = [
        replace(row, split=parts[part]) if part else row
        for row, part in rows
        if part in (*parts, "")
    ]
    merged, said = _merged(path, used, several=several)
    return Listing(tuple(merged), several, (*notes, *said))


def _columns(path: Path, lines: list[tuple[int, list[str]]]) -> tuple[int, dict[str, int], bool]:
    """How many columns, where path, label and split are, and whether labels are sets.

    Takes the header out of the lines, if there is one.
    """
    plain = {"path": 0, "label": 1}
    if not lines:
        return 2, plain, False
    number, first = lines[0]
    names = [bare(cell) for cell in first]

    def place(known: Sequence[str]) -> int | None:
        return next((names.index(name) for name in known if name in names), None)

    file, label, labels, split = (place(known) for known in (PATHS, _LABELS, _SETS, _SPLITS))
    label_or_sets = labels if label is None else label
    if file is not None and label_or_sets is not None:
        del lines[0]
        columns = {"path": file, "label": label_or_sets}
        return len(names), columns | ({} if split is None else {"split": split}), label is None
    looks_like_a_row = Path(first[0].strip()).suffix.lower() in {*SUFFIXES, *STREAMS, ".npy"}
    if not looks_like_a_row and _file(path.parent, first[0].strip()).size < 0 and len(lines) > 1:
        lacks = "label" if file is not None else "path"
        raise UsageError(
            f"Line {number} of {path} is {','.join(first)!r}: neither an image that is there nor "
            f"a header with a column {lacks}. Begin with path,label (a column split may follow)."
        )
    return 2, plain, False


def _csv_row(
    path: Path,
    number: int,
    line: Sequence[str],
    width: int,
    columns: dict[str, int],
    *,
    sets: bool,
) -> tuple[LabelledFile, str]:
    """A row, and the part that it says it is of."""
    cells = [cell.strip() for cell in line]
    if len(cells) != width or not cells[columns["path"]]:
        cells = []
    if not cells or not (cells[columns["label"]] or sets):
        raise UsageError(
            f"Line {number} of {path} is {','.join(line)!r}; wanted {width} columns: an image's "
            "path, its label" + (", ..." if width > 2 else "") + "."
        )
    part = ""
    if "split" in columns:
        value = cells[columns["split"]]
        part = role(value) or ""
        if not part:
            raise UsageError(
                f"Line {number} of {path} has the split {value!r}; wanted train or test."
            )
    return LabelledFile(_file(path.parent, cells[columns["path"]]), cells[columns["label"]]), part


def _file(root: Path, name: str) -> File:
    try:
        info = (root / name).stat()
    except OSError:
        return File(name, -1, -1)
    here = stat.S_ISREG(info.st_mode)
    return File(name, info.st_size, info.st_mtime_ns) if here else File(name, -1, -1)


def _merged(
    path: Path, rows: Sequence[LabelledFile], *, several: bool
) -> tuple[list[LabelledFile], list[str]]:
    """A row for each file; or, where images have one label, for each label of a file."""
    by_file: defaultdict[str, list[LabelledFile]] = defaultdict(list)
    for row in rows:
        by_file[row.key].append(row)
    for same in by_file.values():
        if len({row.split for row in same}) > 1:
            raise UsageError(
                f"{path} has {same[0].file.path} in the training and in the test part. Keep it in "
                "one of them."
            )
    if several:
        joined = [
            replace(same[0], label=BETWEEN.join(sorted({n for row in same for n in row.labels})))
            for same in by_file.values()
        ]
        return joined, []
    apart = [row for same in by_file.values() for row in {row.label: row for row in same}.values()]
    ambiguous = sum(len({row.label for row in same}) > 1 for same in by_file.values())
    if not ambiguous:
        return apart, []
    return apart, [
        f"{path}: {ambiguous} of {len(by_file)} files have several labels, a row each. Every file "
        "is kept on one side of the split, and each row counts as an example. To evaluate images "
        "with several labels, call the column labels."
    ]
