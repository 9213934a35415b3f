"""`manyviews resume`: go on where an interrupted training stopped."""

from pathlib import Path
from typing import TYPE_CHECKING

from manyviews.core.errors import UsageError
from manyviews.verbs.parse import Flag, Positional

if TYPE_CHECKING:
    from manyviews.runs.train import Trained


def resume(run: Positional[str | Path], *, accept_data_change: Flag = False) -> "Trained":
    """Go on where an interrupted run stopped; on a CPU, bit for bit.

    Args:
        run: the run directory.
        accept_data_change: go on although the files in the data have changed.
    """
    from manyviews.core.settings import check
    from manyviews.runs.assemble import digest
    from manyviews.runs.folder.read import read_began, saved_run
    from manyviews.runs.train import run_in

    directory = Path(run)
    began = read_began(directory)
    settings = saved_run(directory)
    check(settings)
    if digest(settings) != began["digest"] and not accept_data_change:
        raise UsageError(
            f"{settings.data.source} has changed since {directory} began. Put it back, or add "
            "--accept-data-change to go on with what is there now."
        )
    return run_in(directory, settings, resume=True)
