"""`manyviews report`: one offline page of a run."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from manyviews.runs.folder.there import check_run_there
from manyviews.verbs.parse import Positional, one_of

if TYPE_CHECKING:
    from manyviews.verbs.written import Written


def report(
    run: Positional[str | Path],
    *,
    data: str | Path = "",
    step: str | int = "",
    map: Literal["pca", "umap", "pacmap"] = "pca",  # noqa: A002, RUF100 - the flag
    colour: str = "",
) -> "Written":
    """Write RUN/report.html, one page that works offline.

    Args:
        run: the run directory.
        data: where its data are now, if they were moved.
        step: of the checkpoint that is shown (a number, or best: what label-free measures choose);
            the newest if not given.
        map: how features become points; umap and pacmap come with manyviews[maps].
        colour: the map's points by what is known of the samples: a column of the CSV that is the
            data, FILE.csv:COLUMN, folder:N, or name:PATTERN (as --views.group takes it).
    """
    data = str(data)
    one_of("map", map, ["pca", "umap", "pacmap"])
    check_run_there(run)
    from manyviews.reports.maps import check_installed

    check_installed(map)
    from manyviews.runs import moved
    from manyviews.runs import report as pages
    from manyviews.runs.assemble import assemble
    from manyviews.runs.at_step import step_of
    from manyviews.runs.diagnose import newest_of
    from manyviews.runs.folder.paths import Paths
    from manyviews.runs.folder.read import read_began, saved_run
    from manyviews.training import checkpoint
    from manyviews.verbs.written import Written

    directory = Path(run)
    settings = moved.at(saved_run(directory), data)
    read_began(directory)
    with moved.hint(settings):
        assembly = assemble(settings)
    newest = newest_of(directory)
    number = step_of(directory, str(step)) if step else checkpoint.step_of(newest)
    chosen = checkpoint.path_of(Paths(directory).checkpoints, number)
    checkpoint.load(chosen, method=assembly.method)
    return Written(path=pages.write(assembly, directory, step=number, how=map, colour=colour))
