"""Images with labels, in two parts: one to learn from, one to be tested on."""

import logging
import zipfile
from dataclasses import dataclass
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
from manyviews.evaluation.listing import FORMS, Listing, Split, of_folders, split_rows
from manyviews.evaluation.table import of_csv

FASHION = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)

_SHOWN = 10

log = logging.getLogger("manyviews")


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


def open_labelled(spec: str, *, channels: int, max_pixels: int, split: Split) -> Labelled:
    """The images and labels of one split.

    - A folder of class folders: the label is the first folder below the root. Where the first
      folders are a training part and a test part, they are the splits and the label is the second
      folder, or the other way round. Such parts are `train` and `test`, or the like of `Training`
      and `test_set`; `val` and its like are the test part where there is no other, and else not
      used. Likewise where `manyviews pack` has packed such a folder.
    - A CSV file of path,label: relative paths start at its own folder. The first line may be a
      header, with path,label or the like (filename,class) in any order; a column `split` with
      train or test in every row gives the splits. Images have several labels where the header
      says path,labels or a row joins labels by `|`; with that header a row may have none, and
      the rows of one file are joined.
    - `fashion-mnist:DIR` and `builtin:fashion` bring their own splits.

    Where no split is given 20 % of each class, at least one image, are the test part: those whose
    label and path hash lowest, so that it does not depend on the order or on other classes. Where
    images have several labels it is 20 % of all images, those whose path hashes lowest. No file is
    in both parts.

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
    packed = is_pack(path)
    if packed:
        whole = Packed(spec, path, channels=channels, max_pixels=max_pixels)
        root, found = path, of_folders(path, [File(name, 0, 0) for name in whole.paths()])
    elif path.is_dir():
        root, found = path, of_folders(path, of_folder(path, suffixes=suffixes(channels)).files)
    elif path.is_file():
        root, found = path.parent, of_csv(path)
    else:
        raise UsageError(f"There is no labelled data {spec!r}. Labelled data is {FORMS}.")
    rows, several = found.rows, found.several
    classes = _classes(found, path)
    given = all(row.split for row in rows)
    if not given:
        rows = split_rows(rows, several=several)
    part = [row for row in rows if row.split == split]
    if not part:
        raise UsageError(
            f"{spec} has no {split} images. Give each class 2 images or more, or "
            f"add a {split} split."
        )
    for note in found.notes if split == "train" else ():
        log.warning("%s", note)
    log.info("%s: %s", spec, _said(split, len(part), classes, given=given))
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


def _classes(found: Listing, path: Path) -> tuple[str, ...]:
    rows, several = found.rows, found.several
    classes = tuple(sorted({n for row in rows for n in (row.labels if several else [row.label])}))
    if len(classes) >= 2 - several:
        return classes
    if not classes:
        raise UsageError(f"{path} has no labels. Labelled data is {FORMS}.")
    inside = path / classes[0]
    hint = f" If the class folders are in {inside}, give that." if inside.is_dir() else ""
    raise UsageError(
        f"{path} has the class {classes[0]!r} alone; wanted 2 or more. Labelled data is {FORMS}."
        f"{hint}"
    )


def _said(split: Split, count: int, classes: tuple[str, ...], *, given: bool) -> str:
    names = ", ".join(classes[:_SHOWN])
    more = f" and {len(classes) - _SHOWN} more" if len(classes) > _SHOWN else ""
    how = "given" if given else "by hash"
    return f"{count} {split} images (split {how}), {len(classes)} classes: {names}{more}"


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
