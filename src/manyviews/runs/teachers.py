"""The frozen models that a method takes its targets from."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from manyviews import encoders
from manyviews.core import Failure, Given, Method, UsageError, settings
from manyviews.evaluation.features import fingerprint
from manyviews.methods import catalog
from manyviews.runs.folder import read
from manyviews.runs.folder.paths import Paths
from manyviews.runs.settings import AnyRun, Teacher
from manyviews.runs.subject import open_subject
from manyviews.training import checkpoint


def open_teachers(run: AnyRun) -> dict[str, nn.Module]:
    """A run's teachers by name, frozen, in evaluation mode: encoders, or whole methods.

    They are no part of the method: checkpoints do not hold them.

    Raises:
        UsageError: one is not named, not there or cannot be read, or has an encoder's name.
        Failure: timm cannot get the weights.
    """
    told: Mapping[str, Teacher] = settings.parts(run.teachers)
    for name in told:
        if name in settings.parts(run.encoders):
            raise UsageError(f"A teacher and an encoder are both called {name!r}. Rename one.")
    opened = {name: _opened(name, teacher) for name, teacher in told.items()}
    return {name: each.requires_grad_(requires_grad=False).eval() for name, each in opened.items()}


def unloaded(run: AnyRun, *, samples: int) -> Method:
    """A run's method with random weights, and its teachers with theirs; torch's seed stays.

    Args:
        run: its settings.
        samples: of its data.

    Raises:
        UsageError: as `open_teachers`.
        Failure: likewise.
    """
    with torch.random.fork_rng(devices=[]):
        told = settings.parts(run.encoders)
        kept = {name: encoders.build(config) for name, config in told.items()}
        return catalog.build(run.method, Given(kept, samples=samples, teachers=open_teachers(run)))


def _opened(name: str, teacher: Teacher) -> nn.Module:
    if not teacher.source:
        forms = "RUN" if teacher.whole else "timm:NAME | FILE | RUN"
        raise UsageError(f"The run learns from a teacher. Give it: --teachers.{name} {forms}.")
    if teacher.whole:
        return _whole(name, Path(teacher.source))
    try:
        subject = open_subject(
            teacher.source, encoder=teacher.encoder, image_size=teacher.image_size
        )
    except UsageError as error:
        said = str(error).replace("--encoder NAME", f"--teachers.{name}.encoder NAME")
        raise UsageError(said.replace("--image-size", f"--teachers.{name}.image-size")) from None
    return subject.encoder


def _whole(name: str, directory: Path) -> Method:
    """The method of a run as it was at its last checkpoint."""
    flag = f"--teachers.{name}"
    if not read.is_run(directory):
        raise UsageError(f"{flag} {directory} is no run directory. Give one, which is read whole.")
    newest = checkpoint.newest(Paths(directory).checkpoints)
    if newest is None:
        raise UsageError(f"{flag} {directory} has no checkpoint. Train it first.")
    try:
        checkpoint.verify(newest)
    except checkpoint.Damaged as damage:
        raise UsageError(f"{flag} {directory} is damaged ({damage}). Restore it.") from None
    try:
        began = read.read_began(directory)
        method = unloaded(read.saved_run(directory), samples=int(began["images"]))
        checkpoint.load(newest, method=method)
    except (UsageError, Failure) as error:  # of its own teachers too
        raise UsageError(f"{flag} {directory} cannot be used. {error}") from None
    return method


def fingerprints(teachers: Mapping[str, nn.Module]) -> dict[str, str]:
    """Name -> a hash of its weights."""
    return {name: fingerprint(teacher) for name, teacher in teachers.items()}


def check_same(teachers: Mapping[str, nn.Module], before: object) -> None:
    """Hold a resumed run's teachers against those that it began with.

    Args:
        teachers: as they are now.
        before: what `fingerprints` gave then.

    Raises:
        UsageError: one has changed, so training would go on towards other targets.
    """
    noted = before if isinstance(before, dict) else {}
    for name, now in fingerprints(teachers).items():
        if noted.get(name, now) != now:
            raise UsageError(
                f"The teacher {name!r} is not the one that this run began with. Put that back, or "
                "train a new run."
            )
