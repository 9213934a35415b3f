"""Samples with labels, in two parts: one to learn from, one to be tested on."""

import logging
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch
from torch import Tensor

from manyviews.core import UsageError
from manyviews.core.sample import Source
from manyviews.data.idx import find_idx, read_idx
from manyviews.data.manifest import File, Manifest, of_folder, of_frame_folders
from manyviews.data.pack.layout import is_pack
from manyviews.data.pack.read import Packed
from manyviews.data.sources import (
    Files,
    FrameFolders,
    ImageSource,
    Media,
    Split,
    builtin_rows,
    media_suffixes,
    open_source,
)
from manyviews.data.streams.image import suffixes
from manyviews.evaluation.listing import FORMS, Listing, of_folders, split_rows
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
        source: the samples.
        labels: [N] int64, each sample's position in `classes`; or [N, C] bool, whether a sample has
            each of the C labels in `classes`, where samples have several.
        classes: names; the same for both splits.
        split: how the splits came to be: "given", or "hashed" for our own 80/20.
    """

    source: Source
    labels: Tensor
    classes: tuple[str, ...]
    split: Literal["given", "hashed"]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def several(self) -> bool:
        """Whether a sample can have several labels, or none."""
        return self.labels.ndim == 2

    @property
    def images(self) -> ImageSource:
        """The source, of samples that are images.

        Raises:
            UsageError: they are something else.
        """
        if self.source.streams == ("image",):
            return cast("ImageSource", self.source)
        raise UsageError(
            f"This is for images, and {self.source.spec} was opened for its "
            f"{' and '.join(self.source.streams)}."
        )


def open_labelled(
    spec: str,
    *,
    channels: int,
    max_pixels: int,
    split: Split,
    streams: Sequence[str] = ("image",),
) -> Labelled:
    """The samples and labels of one split.

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
    - `frames:DIR@RATE`: a folder of class folders, whose videos are folders of frames.
    - `fashion-mnist:DIR`, `builtin:fashion` and `builtin:fashion-tail` bring their own splits.

    Where no split is given 20 % of each class, at least one image, are the test part: those whose
    label and path hash lowest, so that it does not depend on the order or on other classes. Where
    images have several labels it is 20 % of all images, those whose path hashes lowest. No file is
    in both parts.

    Args:
        spec: see above.
        channels: every image is brought to this many.
        max_pixels: larger images are unreadable.
        split: which part.
        streams: of each sample: "image" alone, "points" alone, or "video", "audio" or both of
            files that have them; a file that lacks one is unreadable.

    Raises:
        UsageError: no such data, or labels that cannot be used.
    """
    streams, still = tuple(streams), tuple(streams) == ("image",)
    kind, colon, rest = spec.partition(":")
    if not still and (kind in ("fashion-mnist", "builtin") or is_pack(Path(spec).expanduser())):
        raise UsageError(f"{spec} has images alone, and {', '.join(streams)} is wanted.")
    if colon and kind in ("fashion-mnist", "builtin"):
        source = open_source(spec, channels=channels, max_pixels=max_pixels, split=split)
        labels = _builtin(spec, split) if kind == "builtin" else _idx_labels(rest, split)
        return Labelled(source, _checked(labels, len(source), spec), FASHION, "given")
    frames = FrameFolders.of(spec)
    path = Path(spec).expanduser() if frames is None else frames.folder
    found = _listed(spec, path, channels=channels, max_pixels=max_pixels, streams=streams)
    rows, several = found.rows, found.several
    what = "images" if still else "files"
    classes = _classes(found, path)
    given = all(row.split for row in rows)
    if not given:
        rows = split_rows(rows, several=several)
    part = [row for row in rows if row.split == split]
    if not part:
        raise UsageError(
            f"{spec} has no {split} {what}. Give each class 2 {what} or more, or "
            f"add a {split} split."
        )
    for note in found.notes if split == "train" else ():
        log.warning("%s", note)
    log.info("%s: %s", spec, _said(f"{len(part)} {split} {what}", classes, given=given))
    chosen = tuple(row.file for row in part)
    source = _opened(spec, path, chosen, channels=channels, max_pixels=max_pixels, streams=streams)
    position = {name: i for i, name in enumerate(classes)}
    if several:
        labels = torch.zeros(len(part), len(classes), dtype=torch.bool)
        for i, row in enumerate(part):
            labels[i, [position[name] for name in row.labels]] = True
    else:
        labels = torch.tensor([position[row.label] for row in part])
    return Labelled(source, labels, classes, "given" if given else "hashed")


def _listed(
    spec: str, path: Path, *, channels: int, max_pixels: int, streams: tuple[str, ...]
) -> Listing:
    """Which files have which labels."""
    if is_pack(path):
        whole = Packed(spec, path, channels=channels, max_pixels=max_pixels)
        return of_folders(path, [File(name, 0, 0) for name in whole.paths()])
    if FrameFolders.of(spec) is not None:
        return of_folders(path, of_frame_folders(path).files)
    if path.is_dir():
        endings = suffixes(channels) if streams == ("image",) else media_suffixes(streams)
        return of_folders(path, of_folder(path, suffixes=endings).files)
    if path.is_file():
        return of_csv(path)
    raise UsageError(f"There is no labelled data {spec!r}. Labelled data is {FORMS}.")


def _opened(
    spec: str,
    path: Path,
    chosen: tuple[File, ...],
    *,
    channels: int,
    max_pixels: int,
    streams: tuple[str, ...],
) -> Source:
    """The samples of one part."""
    if is_pack(path):
        only = [file.path for file in chosen]
        return Packed(spec, path, channels=channels, max_pixels=max_pixels, only=only)
    manifest = Manifest(path if path.is_dir() else path.parent, chosen, {})
    if streams == ("image",):
        return Files(spec, manifest, channels=channels, max_pixels=max_pixels)
    frames = FrameFolders.of(spec)
    if frames is not None:
        return frames.opened(spec, manifest, streams)
    return Media(spec, manifest, streams)


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


def _said(part: str, classes: tuple[str, ...], *, given: bool) -> str:
    names = ", ".join(classes[:_SHOWN])
    more = f" and {len(classes) - _SHOWN} more" if len(classes) > _SHOWN else ""
    how = "given" if given else "by hash"
    return f"{part} (split {how}), {len(classes)} classes: {names}{more}"


def _builtin(spec: str, split: Split) -> np.ndarray:
    with as_file(files("manyviews.data") / "builtin" / "labels.npz") as path:
        try:
            with np.load(path, allow_pickle=False) as arrays:
                rows = builtin_rows(spec, split)
                return arrays[split] if rows is None else arrays[split][rows]
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
