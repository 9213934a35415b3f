"""Features that another program, or the verb `embed`, wrote."""

import contextlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manyviews.core import UsageError
from manyviews.data.sources import Split
from manyviews.evaluation.labelled import Labelled, open_labelled

log = logging.getLogger("manyviews")

_OTHERS = ("audio", "points")
"""Streams that labelled files may have where they are no images; videos are looked for by sound."""


@dataclass(frozen=True)
class _Rows:
    """Features from a file, and the names of their images where the file beside it has them."""

    features: Tensor
    paths: list[str] | None


def read_split(
    train: Path, test: Path | None, *, data: str, max_pixels: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features and labels to learn from, and features and labels to be tested on.

    Args:
        train: a .npy of features [N, D]. Without `test` it needs the .json beside it that `embed`
            writes, and holds rows of both parts, which are matched by path.
        test: a .npy of the test part's features. The rows of both files are then in the order of
            `data`, one for each image.
        data: LABELLED, see `labelled.open_labelled`; its samples are not read.
        max_pixels: for `data`.

    Raises:
        UsageError: a file is no array of numbers, or its rows are not those of `data`.
    """
    parts = [_part(data, split, max_pixels=max_pixels) for split in ("train", "test")]
    rows = _read(train)
    if test is not None:
        first = _in_order(rows, parts[0].labels, train, data)
        return *first, *_in_order(_read(test), parts[1].labels, test, data)
    if rows.paths is None:
        raise UsageError(
            f"{train} has no {train.name}.json beside it that names its images. Give the features "
            "of the test part too: --test-features FILE.npy."
        )
    where = {path: i for i, path in enumerate(rows.paths)}
    if len(where) < len(rows.paths):
        twice = next(path for i, path in enumerate(rows.paths) if where[path] != i)
        raise UsageError(
            f"{train} has several rows for {twice}, and one a file is measured. Embed with "
            "--level image."
        )
    first = _by_path(
        rows, where, parts[0], f"{train} names no image of the training part of {data}"
    )
    second = _by_path(rows, where, parts[1], f"{train} names no image of the test part of {data}")
    return *first, *second


def _part(data: str, split: Split, *, max_pixels: int) -> Labelled:
    """Labels of images; where there are none, of videos and sounds, or of clouds."""
    try:
        return open_labelled(data, channels=3, max_pixels=max_pixels, split=split)
    except UsageError:
        for stream in _OTHERS:
            with contextlib.suppress(UsageError):
                return open_labelled(
                    data, channels=3, max_pixels=max_pixels, split=split, streams=(stream,)
                )
        raise


def _by_path(
    rows: _Rows, where: dict[str, int], part: Labelled, problem: str
) -> tuple[Tensor, Tensor]:
    pairs = [(where.get(part.source.name(i)), i) for i in range(len(part))]
    known = [(row, i) for row, i in pairs if row is not None]
    if not known:
        example = next(iter(where), "nothing")
        raise UsageError(
            f"{problem} (it has {example!r}, the data {part.source.name(0)!r}). Embed that "
            "data, or give the test part's features by --test-features."
        )
    if len(known) < len(part):
        log.warning(
            "%d of the %d samples have no features and are left out; the first is %s",
            *(len(part) - len(known), len(part)),
            next(part.source.name(i) for row, i in pairs if row is None),
        )
    return rows.features[[row for row, _ in known]], part.labels[[i for _, i in known]]


def _in_order(rows: _Rows, labels: Tensor, path: Path, data: str) -> tuple[Tensor, Tensor]:
    if len(rows.features) != len(labels):
        raise UsageError(
            f"{path} has {len(rows.features)} rows; that part of {data} has {len(labels)} samples. "
            "Embed it again, or give the data that was embedded."
        )
    return rows.features, labels


def _read(path: Path) -> _Rows:
    """Features [N, D] and, if there is a file that names them, their images."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
            raise ValueError("it holds no numbers")
        if array.ndim != 2:
            raise ValueError(f"its shape is {array.shape}; wanted [N, D]")
        with np.errstate(over="ignore"):  # beyond float32 is infinite, which is refused by name
            features = torch.from_numpy(np.array(array, dtype=np.float32))
        paths = _paths(path.with_name(path.name + ".json"))
    except (OSError, ValueError, EOFError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"{path} cannot be read as features: {reason}. Give a .npy file."
        ) from None
    if paths is not None and len(paths) != len(features):
        raise UsageError(
            f"{path} has {len(features)} rows and {path.name}.json {len(paths)} paths. Embed again."
        )
    return _Rows(features, paths)


def _paths(note: Path) -> list[str] | None:
    """What `embed` says of the rows; None where it says nothing."""
    if not note.is_file():
        return None
    try:
        said: Any = json.loads(note.read_text(encoding="utf-8"))
        paths: list[Any] = list(said["path"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        paths = [None]
    if not all(isinstance(path, str) for path in paths):
        raise UsageError(f"{note} is damaged: it should list a path for each row. Embed again.")
    return paths
