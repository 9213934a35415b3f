"""What `evaluate` leaves behind: results in RUN/evaluation, features in a cache."""

import datetime
import hashlib
import json
import logging
import os
import re
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from manyviews.core import Failure, comm
from manyviews.core.files import write_json
from manyviews.core.progress import once_each
from manyviews.evaluation.features import Cache
from manyviews.evaluation.result import Beside
from manyviews.runs import saved
from manyviews.runs.folder import read
from manyviews.runs.folder.paths import Paths
from manyviews.runs.settings import AnyRun
from manyviews.training import checkpoint, launch

log = logging.getLogger("manyviews")


def begin(
    directory: Path,
    run: AnyRun,
    *,
    digest: str,
    contents: str,
    images: int,
    command: str,
    threads: int,
    start: str = "",
    teachers: Mapping[str, str] = MappingProxyType({}),
    positives: str = "",
) -> None:
    """Write down what a run is, before anything is trained.

    Args:
        directory: the run's.
        run: its settings.
        digest: of the data, times of files included.
        contents: of the data, however they are copied.
        images: samples in the data.
        command: what was typed.
        threads: that compute.
        start: digest of the weights that it begins from.
        teachers: name -> digest of its weights.
        positives: digest of what groups samples.

    Raises:
        Failure: nothing can be written there.
    """
    noted: dict[str, Any] = {"digest": digest, "contents": contents, "images": images}
    noted |= {"command": command, "threads": threads}
    noted |= {"start": start} if start else {}
    noted |= {"positives": positives} if positives else {}
    noted |= {"teachers": dict(teachers)} if teachers else {}
    try:
        Paths(directory).config.write_text(saved.to_yaml(run), encoding="utf-8")
        Paths(directory).began.write_text(json.dumps(noted), encoding="utf-8")
    except OSError as error:
        raise Failure(
            f"cannot write to {directory}: {error.strerror}. Give a writable --out."
        ) from error


def cache_of(run: str | Path) -> Cache:
    """Where a subject's features are kept: with the run, or with the user's other caches.

    That they cannot be kept there is said once, however many there are.
    """
    return Cache(directory=_directory(run), warn=once_each(log.warning))


def _directory(run: str | Path) -> Path:
    if Path(run).is_dir():
        return Paths(Path(run)).cache
    home = os.environ.get("XDG_CACHE_HOME")
    if home:
        return Path(home) / "manyviews"
    try:
        return Path.home() / ".cache" / "manyviews"
    except RuntimeError:  # no $HOME, and a user without an account, as in containers
        return Path(tempfile.gettempdir()) / f"manyviews-{os.getuid()}"


def keep_result(
    run: str | Path,
    found: Beside,
    told: Mapping[str, str],
    *,
    encoder: str,
    content: str,
) -> str:
    """Write a result to RUN/evaluation, where `compare` and the report find it.

    Args:
        run: nothing is written where it is no directory.
        found: the result.
        told: what it was measured on, by name: data, train_data; `which` encoder of several; `step`
            of a checkpoint; `layer` and `pool` of features that are not the encoder's output;
            `averaged` of how many clips and crops they are the mean.
        encoder: fingerprint of whose features.
        content: hash of the images and labels.

    Returns:
        Why it could not be written; "" where it was, or where there is no run.
    """
    if not Path(run).is_dir():
        return ""
    slug = "--".join(re.sub(r"[^A-Za-z0-9]+", "-", str(v)).strip("-")[-60:] for v in told.values())
    mark = hashlib.sha256("\0".join(map(str, told.values())).encode(errors="replace")).hexdigest()
    # two names of data may look alike as a slug; a file that says otherwise is not overwritten
    paths, name = Paths(Path(run)), f"{found.result.protocol}--{slug}"
    path = paths.evaluation(name)
    if not _is_of(path, told):
        path = paths.evaluation(f"{name}-{mark[:8]}")
    marks = {"encoder": encoder, "content": content}
    try:
        write_json(path, found.to_json() | dict[str, Any](told) | marks)
    except Failure as failure:
        return str(failure)
    return ""


def _is_of(path: Path, told: Mapping[str, str]) -> bool:
    """Whether a result may be written here: nothing is there, or the same data's."""
    found = read.read_evaluation(path) if path.is_file() else {}
    names = ("data", "train_data", "which", "step", "layer", "pool", "averaged")
    return not found or all(found.get(name, "") == told.get(name, "") for name in names)


def refuse_second(directory: Path) -> None:
    """Only rank 0 looks: by the time that another one did, this run's first checkpoint is there."""
    if comm.rank() == 0:
        checkpoint.refuse_second(directory, Paths(directory).checkpoints)


def new_directory(recipe: str) -> Path:
    """A run directory that does not exist yet, the same on all ranks: runs/RECIPE-DATE-TIME."""
    now = torch.tensor([time.time()], dtype=torch.float64, device=launch.device())
    stamp = datetime.datetime.fromtimestamp(comm.broadcast(now).item()).astimezone()
    return Path("runs") / f"{recipe}-{stamp:%Y%m%d-%H%M%S}"
