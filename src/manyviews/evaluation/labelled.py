"""Images with labels, in two parts: one to learn from, one to be tested on."""

import csv
import hashlib
import os
import stat
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from manyviews.core import UsageError
from manyviews.data.idx import find_idx, read_idx
from manyviews.data.manifest import File, Manifest, of_folder
from manyviews.data.pack.read import Packed, is_pack
from manyviews.data.sources import Files, ImageSource, open_source
from manyviews.data.streams.image import suffixes

Split = Literal["train", "test"]

FORMS = (
    "a folder of class folders, a CSV file of path,label (several joined by |), fashion-mnist:DIR, "
    "or builtin:fashion"
)
"""What `open_labelled` takes, for messages."""

BETWEEN = "|"
"""Between the labels of one image in a CSV: cat|indoor."""

FASHION = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)

_TEST_FOLDERS = ("test", "val", "valid", "validation")
_TEST_SHARE = 0.2


@dataclass(frozen=True)
class Labelled:
    """One split of a labelled data set.

    Attributes:
        source: the images.
        labels: [N] int64, each image's position in `classes`; or [N, C] bool, whether an image has
            each of the C labels in `classes`, where images have several.
        classes: names; the same for both splits.
        split: how the splits came to be: "given", or "hashed" for our own 80/20.
    """

    source: ImageSource
    labels: Tensor
    classes: tuple[str, ...]
    split: Literal["given", "hashed"]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def several(self) -> bool:
        """Whether an image can have several labels, or none."""
        return self.labels.ndim == 2


@dataclass(frozen=True)
class _Row:
    file: File
    label: str
    split: Split | None = None

    @property
    def labels(self) -> set[str]:
        """Where images have several."""
        return {name for part in self.label.split(BETWEEN) if (name := part.strip())}


def open_labelled(spec: str, *, channels: int, max_pixels: int, split: Split) -> Labelled:
    """The images and labels of one split.

    - A folder of class folders: the label is the first folder below the root. Where the first
      folders are `train` and one of `test`, `val`, `valid`, `validation`, they are the splits and
      the label is the second folder. Likewise where `manyviews pack` has packed such a folder.
    - A CSV file of path,label: relative paths start at its own folder. The first line may be a
      header; a third column `split` with train or test in every row gives the splits. Images
      have several labels where the header says path,labels or a row joins labels by `|`; with
      that header a row may have none.
    - `fashion-mnist:DIR` and `builtin:fashion` bring their own splits.

    Where no split is given 20 % of each class, at least one image, are the test part: those whose
    label and path hash lowest, so that it does not depend on the order or on other classes. Where
    images have several labels it is 20 % of all images, those whose path hashes lowest.

    Args:
        spec: see above.
        channels: every image is brought to this many.
        max_pixels: larger images are unreadable.
        split: which part.

    Raises:
        UsageError: no such data, or labels that cannot be used.
    """
    kind, colon, rest = spec.partition(":")
    if colon and kind in ("fashion-mnist", "builtin"):
        source = open_source(spec, channels=channels, max_pixels=max_pixels, split=split)
        labels = _builtin(split) if kind == "builtin" else _idx_labels(rest, split)
        return Labelled(source, _checked(labels, len(source), spec), FASHION, "given")
    path = Path(spec).expanduser()
    several, packed = False, is_pack(path)
    if packed:
        whole = Packed(spec, path, channels=channels, max_pixels=max_pixels)
        root, rows = path, _folder_rows(path, [File(name, 0, 0) for name in whole.paths()])
    elif path.is_dir():
        root, rows = path, _folder_rows(path, of_folder(path, suffixes=suffixes(channels)).files)
    elif path.is_file():
        root = path.parent
        rows, several = _csv_rows(path)
    else:
        raise UsageError(f"There is no labelled data {spec!r}. Labelled data is {FORMS}.")
    classes = tuple(sorted({n for row in rows for n in (row.labels if several else [row.label])}))
    if len(classes) < 2 - several:
        what = (
            f"has the class {classes[0]!r} alone; wanted 2 or more" if classes else "has no labels"
        )
        raise UsageError(f"{spec} {what}. Labelled data is {FORMS}.")
    given = all(row.split for row in rows)
    if not given:
        rows = _split_all(rows) if several else _split(rows)
    part = [row for row in rows if row.split == split]
    if not part:
        raise UsageError(
            f"{spec} has no {split} images. Give each class 2 images or more, or "
            f"add a {split} split."
        )
    chosen = tuple(row.file for row in part)
    source = (
        Packed(
            spec,
            path,
            channels=channels,
            max_pixels=max_pixels,
            only=[file.path for file in chosen],
        )
        if packed
        else Files(spec, Manifest(root, chosen, {}), channels=channels, max_pixels=max_pixels)
    )
    position = {name: i for i, name in enumerate(classes)}
    if several:
        labels = torch.zeros(len(part), len(classes), dtype=torch.bool)
        for i, row in enumerate(part):
            labels[i, [position[name] for name in row.labels]] = True
    else:
        labels = torch.tensor([position[row.label] for row in part])
    return Labelled(
        source,
        labels,
        classes,
        "given" if given else "hashed",
    )


def _folder_rows(root: Path, files: Sequence[File]) -> list[_Row]:
    found = [(file, Path(file.path).parts) for file in files]
    tops = {parts[0] for _, parts in found if len(parts) > 1}
    tests = [name for name in _TEST_FOLDERS if name in tops]
    if "train" in tops and tests:
        splits: dict[str, Split] = {"train": "train", tests[0]: "test"}
        found = [(file, parts) for file, parts in found if parts[0] in splits]
        rows = [_Row(file, parts[1], splits[parts[0]]) for file, parts in found if len(parts) > 2]
        stray = [file for file, parts in found if len(parts) == 2]
    else:
        rows = [_Row(file, parts[0]) for file, parts in found if len(parts) > 1]
        stray = [file for file, parts in found if len(parts) == 1]
    if stray:
        raise UsageError(
            f"{len(stray)} of {len(found)} images in {root} lie in no class folder (first: "
            f"{stray[0].path}). Labelled data is {FORMS}."
        )
    return rows


def _csv_rows(path: Path) -> tuple[list[_Row], bool]:
    """The rows, and whether images have several labels."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [(n, line) for n, line in enumerate(csv.reader(file), 1) if any(line)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(
            f"Cannot read {path} as CSV: {error}. It has to hold path,label."
        ) from None
    names = ["path", "label"]
    first = [cell.strip().lower() for cell in lines[0][1]] if lines else []
    if first[:2] in (names, ["path", "labels"]):
        names = first
        del lines[0]
    sets = names[1] == "labels"
    splits = names.index("split") if "split" in names else None
    rows = [_csv_row(path, n, line, width=len(names), split=splits, sets=sets) for n, line in lines]
    if not rows:
        raise UsageError(f"{path} holds no rows. Write path,label into it, an image a line.")
    if all(row.file.size < 0 for row in rows):
        raise UsageError(
            f"None of the {len(rows)} paths in {path} leads to a file; the first is "
            f"{rows[0].file.path!r}. Paths are absolute, or relative to {path.parent.resolve()}."
        )
    return rows, sets or any(BETWEEN in row.label for row in rows)


def _csv_row(
    path: Path, number: int, line: Sequence[str], *, width: int, split: int | None, sets: bool
) -> _Row:
    cells = [cell.strip() for cell in line]
    if len(cells) != width or not cells[0] or not (cells[1] or sets):
        raise UsageError(
            f"Line {number} of {path} is {','.join(line)!r}; wanted {width} columns: an image's "
            "path, its label" + (", ..." if width > 2 else "") + "."
        )
    part: Split | None = None
    if split is not None:
        if cells[split] not in ("train", "test"):
            raise UsageError(
                f"Line {number} of {path} has the split {cells[split]!r}; wanted train or test."
            )
        part = "train" if cells[split] == "train" else "test"
    try:
        info = (path.parent / cells[0]).stat()
    except OSError:
        return _Row(File(cells[0], -1, -1), cells[1], part)
    here = stat.S_ISREG(info.st_mode)
    file = File(cells[0], info.st_size, info.st_mtime_ns) if here else File(cells[0], -1, -1)
    return _Row(file, cells[1], part)


def _split(rows: Iterable[_Row]) -> list[_Row]:
    """The same rows, in the same order, each with its split."""
    rows = list(rows)
    by_class: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        by_class.setdefault(row.label, []).append(i)
    for members in by_class.values():
        members.sort(key=lambda i: (_hash(rows[i]), rows[i].file.path))
        count = 0 if len(members) < 2 else max(1, round(_TEST_SHARE * len(members)))
        for rank, i in enumerate(members):
            rows[i] = replace(rows[i], split="test" if rank < count else "train")
    return rows


def _split_all(rows: Sequence[_Row]) -> list[_Row]:
    """As `_split`, where images have several labels: one order for all of them."""
    split = _split([replace(row, label="") for row in rows])
    return [replace(row, split=part.split) for row, part in zip(rows, split, strict=True)]


def _hash(row: _Row) -> bytes:
    return hashlib.sha256(os.fsencode(f"{row.label}\0{row.file.path}")).digest()


def _builtin(split: Split) -> np.ndarray:
    with as_file(files("manyviews.data") / "builtin" / "labels.npz") as path:
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return arrays[split]
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise UsageError(
                f"The labels of builtin:fashion cannot be read ({error}). Install manyviews again."
            ) from None


def _idx_labels(folder: str, split: Split) -> np.ndarray:
    return read_idx(find_idx(Path(folder).expanduser(), split, "labels"))


def _checked(labels: np.ndarray, count: int, spec: str) -> Tensor:
    if labels.shape != (count,) or int(labels.max()) >= len(FASHION):
        raise UsageError(
            f"{spec} has labels of shape {labels.shape} up to {int(labels.max())} for {count} "
            f"images; wanted {count} labels below {len(FASHION)}. Get the files again."
        )
    return torch.from_numpy(labels.astype(np.int64))
