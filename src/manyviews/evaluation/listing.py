"""Which files have which labels, and which are for the test: by folders, or by hash."""

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from manyviews.core import UsageError
from manyviews.data.manifest import File
from manyviews.data.sources import Split
from manyviews.data.table import bare

FORMS = (
    "a folder of class folders, a CSV file of path,label (several joined by |), fashion-mnist:DIR, "
    "or builtin:fashion"
)
"""What `open_labelled` takes, for messages."""

BETWEEN = "|"
"""Between the labels of one image in a CSV: cat|indoor."""

_ROLES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "eval", "evaluation"), "validation"),
}
_TEST_SHARE = 0.2
_SHOWN = 5


@dataclass(frozen=True)
class LabelledFile:
    """A file, its label or labels as written, and its part where that is known."""

    file: File
    label: str
    split: Split | None = None

    @property
    def labels(self) -> set[str]:
        """Where images have several."""
        return {name for part in self.label.split(BETWEEN) if (name := part.strip())}

    @property
    def key(self) -> str:
        """The same for two ways to write one path."""
        return os.path.normpath(self.file.path)


@dataclass(frozen=True)
class Listing:
    """What labelled data hold.

    Attributes:
        rows: in their order; a file is in several only where it has several labels of which each
            counts as an example of its own.
        several: whether an image can have several labels, or none.
        notes: what the user should know, a line each.
    """

    rows: tuple[LabelledFile, ...]
    several: bool = False
    notes: tuple[str, ...] = ()


def role(name: str) -> str | None:
    """What part of the data a name such as "Training" or "test_set" means; None for others."""
    plain = bare(name)
    return _ROLES.get(plain) or _ROLES.get(re.sub(r"(set|data|images|split)$", "", plain))


def of_folders(root: Path, files: Sequence[File]) -> Listing:
    """Class folders, or splits of class folders, or class folders of splits.

    Raises:
        UsageError: an image in no class folder, or splits without a training part.
    """
    found = [(file, Path(file.path).parts) for file in files]
    for level in (0, 1):  # root/train/cat/x.png, then root/cat/train/x.png
        at = {parts[level] for _, parts in found if len(parts) > level + 1}
        if level and any(len(parts) != 3 for _, parts in found):
            break
        parts_of, left = _parts(root, at)
        if parts_of:
            return _of_parts(root, found, level, parts_of, left)
    stray = [file for file, parts in found if len(parts) == 1]
    if stray:
        raise UsageError(_strays(stray, len(found), root))
    names = sorted({parts[0] for _, parts in found})
    splits = [name for name in names if role(name)]
    notes: list[str] = []
    if splits and len(splits) == len(names) > 1:
        raise UsageError(
            f"{root} has the folders {some(names)}, which are parts and not classes, and none "
            "that is a training part. Name that one train, or give a folder of class folders."
        )
    if splits:
        notes.append(
            f"{root}: {some(splits)} is read as a class and looks like a part of the data. For "
            "parts have both train and test (or val), with class folders in each."
        )
    return Listing(tuple(LabelledFile(file, parts[0]) for file, parts in found), notes=tuple(notes))


def _parts(root: Path, names: set[str]) -> tuple[dict[str, Split], list[str]]:
    """Which folders are which part, if there are both; and those that are left out then."""
    by_role: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        by_role[role(name) or ""].append(name)
    train, held = by_role["train"], by_role["test"] or by_role["validation"]
    if not train or not held:
        return {}, []
    for twice in (train, held):
        if len(twice) > 1:
            raise UsageError(
                f"{root} has the folders {some(twice)}, which mean the same part. Keep one."
            )
    parts: dict[str, Split] = {train[0]: "train", held[0]: "test"}
    return parts, sorted(names - set(parts))


def _of_parts(
    root: Path,
    found: Sequence[tuple[File, tuple[str, ...]]],
    level: int,
    parts_of: dict[str, Split],
    left: Sequence[str],
) -> Listing:
    used = [(file, parts) for file, parts in found if parts[min(level, len(parts) - 1)] in parts_of]
    stray = [file for file, parts in used if len(parts) == 2]
    if stray:
        raise UsageError(_strays(stray, len(used), root))
    rows = tuple(
        LabelledFile(file, parts[1 - level], parts_of[parts[level]]) for file, parts in used
    )
    names = " and ".join(parts_of)
    notes = [f"{root}: {some(left)} beside {names} is not used."] if left else []
    return Listing(rows, notes=tuple(notes))


def _strays(stray: Sequence[File], count: int, root: Path) -> str:
    return (
        f"{len(stray)} of {count} files in {root} lie in no class folder (first: "
        f"{stray[0].path}). Labelled data is {FORMS}."
    )


def split_rows(rows: Sequence[LabelledFile], *, several: bool) -> list[LabelledFile]:
    """The same rows, in the same order, each with its part: by file, a fifth of each class.

    A file with several labels counts for the first of them in the alphabet, and where images have
    sets of labels all files are one class.
    """
    one: dict[str, LabelledFile] = {}
    for row in sorted(rows, key=lambda row: row.label):
        one.setdefault(row.key, replace(row, label="") if several else row)
    side = {row.key: row.split for row in _split(one.values())}
    return [replace(row, split=side[row.key]) for row in rows]


def _split(rows: Iterable[LabelledFile]) -> list[LabelledFile]:
    rows = list(rows)
    by_class: defaultdict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        by_class[row.label].append(i)
    for members in by_class.values():
        members.sort(key=lambda i: (_hash(rows[i]), rows[i].file.path))
        count = 0 if len(members) < 2 else max(1, round(_TEST_SHARE * len(members)))
        for rank, i in enumerate(members):
            rows[i] = replace(rows[i], split="test" if rank < count else "train")
    return rows


def _hash(row: LabelledFile) -> bytes:
    return hashlib.sha256(os.fsencode(f"{row.label}\0{row.file.path}")).digest()


def some(names: Sequence[str]) -> str:
    """The first few of them."""
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
