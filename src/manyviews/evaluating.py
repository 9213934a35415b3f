"""The verb `evaluate`: labelled protocols on anybody's features, beside what costs nothing."""

import json
import logging
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manyviews import probing, results
from manyviews.bars import bar
from manyviews.config import nearest
from manyviews.core import Failure, UsageError
from manyviews.evaluation import baselines
from manyviews.evaluation.features import fingerprint
from manyviews.evaluation.labelled import open_labelled
from manyviews.evaluation.protocols import PROTOCOLS
from manyviews.evaluation.result import Result
from manyviews.exporting import Embedder
from manyviews.probing import Cache, LabelledProbe, Split
from manyviews.running import write_json
from manyviews.subjects import open_subject, untrained
from manyviews.training import launch
from manyviews.views.plain import Plain

log = logging.getLogger("manyviews")

MAX_PIXELS = 200_000_000
PIXELS = 1024
"""Raw pixels are compared as so many numbers an image at most: at 224 they would be 150,000."""


def evaluate(
    run: str | Path,
    *,
    data: str,
    protocol: str | Sequence[str] = "knn",
    train_data: str = "",
    encoder: str = "",
    image_size: int = 0,
    test_features: str | Path | None = None,
    batch_size: int = 256,
    baselines: bool = True,  # noqa: FBT001, FBT002, RUF100 - keyword-only
    max_pixels: int = MAX_PIXELS,
) -> results.Evaluated:
    """Measure features with labels, beside raw pixels and the untrained encoder.

    Features are computed once and kept by content: in RUN/cache, or in the user's cache directory
    where there is no run. The results are also written to RUN/evaluation/, if that can be written.

    Args:
        run: a run directory, an encoder.safetensors, `timm:NAME`, a checkpoint of another project
            with `encoder`, or a .npy of features (see `test_features`).
        data: LABELLED: a folder of class folders, a CSV of path,label, `fashion-mnist:DIR` or
            `builtin:fashion`.
        protocol: one or several names of `evaluation.protocols.PROTOCOLS`.
        train_data: learn from the training part of this LABELLED instead, and test on `data`'s
            test part (transfer). Classes are matched by name.
        encoder: timm's name of the architecture of a checkpoint.
        image_size: side for timm models and checkpoints; 0 takes their own.
        test_features: with a .npy of the training part's features as `run`, the .npy of the test
            part's; rows in the order of `data`. Without it the .npy needs the .json that `embed`
            writes beside it, and rows are matched by path.
        batch_size: images at a time.
        baselines: also measure raw pixels, mean-centred raw pixels and the untrained encoder.
        max_pixels: larger images are unreadable.
    """
    names = _names(protocol)
    if str(run).endswith(".npy"):
        _refuse_for_features(encoder=encoder, image_size=image_size, train_data=train_data)
        return _of_files(Path(run), test_features, data=data, names=names, max_pixels=max_pixels)
    if test_features is not None:
        raise UsageError("--test-features goes with a .npy of training features as RUN.")
    device = launch.device()
    subject = open_subject(run, encoder=encoder, image_size=image_size).to(device)
    probe = probing.open_probe(
        data, subject.plain, max_pixels=max_pixels, device=device, train_spec=train_data
    )
    cache = _cache(run)
    sides: dict[str, Callable[[], Split]] = {}
    if baselines:
        sides = _baselines(probe, subject, cache=cache, batch_size=batch_size)
    mark = fingerprint(subject)
    told = {"data": data} | ({"train_data": train_data} if train_data else {})
    features = {"": _split(probe, subject, cache=cache, batch_size=batch_size)}
    found: list[results.Beside] = []
    for name in names:
        result = PROTOCOLS[name](*features[""])
        beside: dict[str, Result] = {}
        for side, compute in sides.items():
            if side not in features:
                features[side] = compute()
            beside[side] = PROTOCOLS[name](*features[side])
        found.append(results.Beside(result=result, beside=beside))
        _keep(run, found[-1], told, encoder=mark)
    return results.Evaluated(run=str(run), data=data, found=found)


def _names(protocol: str | Sequence[str]) -> list[str]:
    names = [protocol] if isinstance(protocol, str) else list(dict.fromkeys(protocol))
    if not names:
        raise UsageError(f"No protocol was given. Known: {', '.join(PROTOCOLS)}.")
    for name in names:
        if name not in PROTOCOLS:
            raise UsageError(f"protocol is '{name}'. {nearest(name, list(PROTOCOLS))}")
    return names


def _cache(run: str | Path) -> Path:
    """Where a subject's features are kept: with the run, or with the user's other caches."""
    if Path(run).is_dir():
        return Path(run) / "cache"
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "manyviews"


def _split(probe: LabelledProbe, subject: Embedder, *, cache: Path, batch_size: int) -> Split:
    """Features of a frozen encoder."""
    key = Cache(cache, f"{fingerprint(subject)} {subject.config} fp32")
    with bar("embedding") as progress:
        return probe.split(subject, batch_size=batch_size, cache=key, progress=progress)


def _baselines(
    probe: LabelledProbe, subject: Embedder, *, cache: Path, batch_size: int
) -> dict[str, Callable[[], Split]]:
    """Name -> how to get the features of what no training has touched."""
    view = subject.plain
    side = min(view.size, math.isqrt(PIXELS // view.channels) or 1)
    small = Plain(side, channels=view.channels, mean=view.mean, std=view.std)

    def raw() -> Split:
        embed = baselines.pixels(view.mean, view.std)
        key = Cache(cache, "pixels")
        return probe.split(embed, plain=small, batch_size=batch_size, cache=key)

    def centred() -> Split:
        split = raw()
        train_x, test_x = baselines.centred(split.train_x, split.test_x)
        return Split(train_x, split.train_y, test_x, split.test_y)

    def random() -> Split:
        network = untrained(subject).to(probe.device)
        return _split(probe, network, cache=cache, batch_size=batch_size)

    return {"raw pixels": raw, "centred pixels": centred, "untrained encoder": random}


def _keep(run: str | Path, found: results.Beside, told: Mapping[str, Any], *, encoder: str) -> None:
    """Write a result to RUN/evaluation, where `compare` and the report find it."""
    if not Path(run).is_dir():
        return
    slug = "--".join(re.sub(r"[^A-Za-z0-9]+", "-", str(v)).strip("-")[-60:] for v in told.values())
    path = Path(run) / "evaluation" / f"{found.result.protocol}--{slug}.json"
    try:
        write_json(path, found.to_json() | dict(told) | {"encoder": encoder})
    except Failure as failure:
        log.warning("%s", failure)


@dataclass(frozen=True)
class _Rows:
    """Features from a file, and the names of their images where the file beside it has them."""

    features: Tensor
    paths: list[str] | None


def _refuse_for_features(**given: str | int) -> None:
    for name, value in given.items():
        if value:
            flag = name.replace("_", "-")
            raise UsageError(f"--{flag} {value} is for encoders; a .npy holds features already.")


def _of_files(
    train: Path, test: str | Path | None, *, data: str, names: list[str], max_pixels: int
) -> results.Evaluated:
    """Protocols on features that another program, or `embed`, wrote."""
    parts = [
        open_labelled(data, channels=3, max_pixels=max_pixels, split=split)
        for split in ("train", "test")
    ]
    rows = _read(train)
    if test is None:
        if rows.paths is None:
            raise UsageError(
                f"{train} has no {train.name}.json beside it that names its images. Give the "
                "features of the test part too: --test-features FILE.npy."
            )
        where = {path: i for i, path in enumerate(rows.paths)}
        pick = [
            [(where[name], i) for i in range(len(part)) if (name := part.source.name(i)) in where]
            for part in parts
        ]
        if not all(pick):
            raise UsageError(
                f"{train} names no image of the {'training' if not pick[0] else 'test'} part of "
                f"{data} (it has {rows.paths[0]!r}, the data {parts[0].source.name(0)!r}). Embed "
                "that data."
            )
        split = Split(
            *(
                x
                for part, chosen in zip(parts, pick, strict=True)
                for x in (
                    rows.features[[row for row, _ in chosen]],
                    part.labels[[i for _, i in chosen]],
                )
            )
        )
    else:
        split = Split(
            *_in_order(rows, parts[0].labels, train, data),
            *_in_order(_read(Path(test)), parts[1].labels, Path(test), data),
        )
    found = [results.Beside(result=PROTOCOLS[name](*split), beside={}) for name in names]
    return results.Evaluated(run=str(train), data=data, found=found)


def _in_order(rows: _Rows, labels: Tensor, path: Path, data: str) -> tuple[Tensor, Tensor]:
    if len(rows.features) != len(labels):
        raise UsageError(
            f"{path} has {len(rows.features)} rows; that part of {data} has {len(labels)} images. "
            "Embed it again, or give the data that was embedded."
        )
    return rows.features, labels


def _read(path: Path) -> _Rows:
    """Features [N, D] and, if there is a file that names them, their images."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
            raise ValueError("it holds no numbers")
        features = torch.from_numpy(np.array(array, dtype=np.float32))
        note = path.with_name(path.name + ".json")
        paths = json.loads(note.read_text(encoding="utf-8"))["path"] if note.is_file() else None
    except (OSError, ValueError, KeyError, EOFError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"{path} cannot be read as features: {reason}. Give a .npy file."
        ) from None
    if paths is not None and len(paths) != len(features):
        raise UsageError(
            f"{path} has {len(features)} rows and {path.name}.json {len(paths)} paths. Embed again."
        )
    return _Rows(features, paths)
