"""A run whose data are elsewhere now."""

import json
import logging
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from manyviews.core import UsageError
from manyviews.core.files import atomic, read_lines
from manyviews.core.settings import parts, struct
from manyviews.data import places
from manyviews.data.groups import from_anywhere
from manyviews.data.settings import Positives
from manyviews.runs import saved
from manyviews.runs.folder import read
from manyviews.runs.folder.paths import Paths
from manyviews.runs.settings import AnyRun
from manyviews.runs.subject import TIMM

log = logging.getLogger("manyviews")


def settled(run: AnyRun) -> AnyRun:
    """The run with paths that mean the same from any folder."""
    taught = {
        name: replace(teacher, source=_weights(teacher.source))
        for name, teacher in parts(run.teachers).items()
    }
    return replace(
        run,
        data=replace(run.data, source=places.absolute(run.data.source)),
        probe=replace(run.probe, source=places.absolute(run.probe.source)),
        start=_weights(run.start),
        positives=Positives(**{k: from_anywhere(v) for k, v in vars(run.positives).items()}),
        teachers=struct("Teachers", taught),
    )


def _weights(spec: str) -> str:
    return spec if spec.startswith(TIMM) else places.absolute(spec)


def at(run: AnyRun, data: str) -> AnyRun:
    """The run on the data where they are now; "" leaves it as it is."""
    if not data:
        return run
    return replace(run, data=replace(run.data, source=places.absolute(data)))


@contextmanager
def hint(run: AnyRun) -> Generator[None]:
    """Add to an error about data that are not there what to do if they were moved."""
    try:
        yield
    except UsageError as error:
        if not places.is_gone(run.data.source):
            raise
        raise UsageError(
            f"{error} If the data were moved, say where they are: --data DIR."
        ) from None


def keep(directory: Path, run: AnyRun) -> None:
    """Write down where the data of a run that goes on are now, also for what was unreadable.

    Raises:
        Failure: nothing can be written there.
    """
    before = read.saved_run(directory).data.source
    if before == run.data.source:
        return
    log.info("The data are at %s now (before: %s).", run.data.source, before)
    _rename(Paths(directory).quarantine, places.root(before), places.root(run.data.source))
    with atomic(Paths(directory).config) as draft:
        draft.write_text(saved.to_yaml(run), encoding="utf-8")


def _rename(quarantine: Path, before: str, after: str) -> None:
    """So that no unreadable file counts twice, under its old name and its new one."""
    if not quarantine.is_file():
        return
    entries = [entry for entry in read_lines(quarantine) if isinstance(entry.get("path"), str)]
    for entry in entries:
        if entry["path"].startswith(before):
            entry["path"] = after + entry["path"].removeprefix(before)
    with atomic(quarantine) as draft:
        draft.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="ascii")
