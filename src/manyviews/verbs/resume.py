"""`manyviews resume`: go on where an interrupted training stopped."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from manyviews.core.errors import UsageError
from manyviews.runs.folder.there import check_run_there
from manyviews.verbs.parse import Flag, Positional

if TYPE_CHECKING:
    from manyviews.runs.train import Trained

log = logging.getLogger("manyviews")


def resume(
    run: Positional[str | Path], *, data: str | Path = "", accept_data_change: Flag = False
) -> "Trained":
    """Go on where an interrupted run stopped; on a CPU, bit for bit.

    Args:
        run: the run directory.
        data: where its data are now, if they were moved.
        accept_data_change: go on although the files in the data have changed.
    """
    data = str(data)
    check_run_there(run)
    from manyviews.core.settings import check
    from manyviews.data.pairs import fingerprint
    from manyviews.data.places import contents
    from manyviews.runs import moved
    from manyviews.runs.assemble import source_of
    from manyviews.runs.folder.read import read_began, saved_run
    from manyviews.runs.train import run_in

    directory = Path(run)
    began = read_began(directory)
    settings = moved.at(saved_run(directory), data)
    check(settings)
    with moved.hint(settings):
        source = source_of(settings)
    if source.digest != began["digest"] and not accept_data_change:
        if contents(source) != began.get("contents"):
            raise UsageError(
                f"{source.spec} has changed since {directory} began. Put it back, or add "
                "--accept-data-change to go on with what is there now."
            )
        log.info(
            "The files of %s have other times than before, and the same contents.", source.spec
        )
    groups = fingerprint(source, settings.positives)
    if began.get("positives", groups) != groups and not accept_data_change:
        raise UsageError(
            f"--views.group {settings.positives.group} has other values than when {directory} "
            "began. Put them back, or add --accept-data-change to go on with what is there now."
        )
    return run_in(directory, settings, resume=True)
