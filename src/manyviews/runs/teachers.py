"""The frozen models that a method takes its targets from."""

from collections.abc import Mapping

from manyviews.core import Encoder, UsageError, settings
from manyviews.evaluation.features import fingerprint
from manyviews.runs.settings import AnyRun, Teacher
from manyviews.runs.subject import open_subject


def open_teachers(run: AnyRun) -> dict[str, Encoder]:
    """A run's teachers by name, frozen, in evaluation mode.

    They are no part of the method: checkpoints do not hold them.

    Raises:
        UsageError: one is not named, not there or cannot be read, or has an encoder's name.
        Failure: timm cannot get the weights.
    """
    told: Mapping[str, Teacher] = settings.parts(run.teachers)
    for name in told:
        if name in settings.parts(run.encoders):
            raise UsageError(f"A teacher and an encoder are both called {name!r}. Rename one.")
    return {name: _opened(name, teacher) for name, teacher in told.items()}


def _opened(name: str, teacher: Teacher) -> Encoder:
    if not teacher.source:
        raise UsageError(
            f"The run learns from a teacher. Give it: --teachers.{name} timm:NAME | FILE | RUN."
        )
    try:
        subject = open_subject(
            teacher.source, encoder=teacher.encoder, image_size=teacher.image_size
        )
    except UsageError as error:
        said = str(error).replace("--encoder NAME", f"--teachers.{name}.encoder NAME")
        raise UsageError(said.replace("--image-size", f"--teachers.{name}.image-size")) from None
    return subject.encoder.requires_grad_(requires_grad=False).eval()


def fingerprints(teachers: Mapping[str, Encoder]) -> dict[str, str]:
    """Name -> a hash of its weights."""
    return {name: fingerprint(teacher) for name, teacher in teachers.items()}


def check_same(teachers: Mapping[str, Encoder], before: object) -> None:
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
