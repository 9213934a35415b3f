"""`manyviews report`: one offline page of a run."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from manyviews.core.errors import UsageError
from manyviews.verbs.parse import Positional, one_of

if TYPE_CHECKING:
    from manyviews.verbs.written import Written


def report(
    run: Positional[str | Path],
    *,
    data: str = "",
    map: Literal["pca", "umap", "pacmap"] = "pca",  # noqa: A002, RUF100 - the flag
) -> "Written":
    """Write RUN/report.html, one page that works offline, from the run's newest checkpoint.

    Args:
        run: the run directory.
        data: where its data are now, if they were moved.
        map: how features become points; umap and pacmap come with manyviews[maps].
    """
    one_of("map", map, ["pca", "umap", "pacmap"])
    from manyviews.runs import moved
    from manyviews.runs import report as pages
    from manyviews.runs.assemble import assemble
    from manyviews.runs.folder.paths import Paths
    from manyviews.runs.folder.read import read_began, saved_run
    from manyviews.training import checkpoint
    from manyviews.verbs.written import Written

    directory = Path(run)
    settings = moved.at(saved_run(directory), data)
    read_began(directory)
    with moved.hint(settings):
        assembly = assemble(settings)
    newest = checkpoint.latest(Paths(directory).checkpoints)
    if newest is None:
        raise UsageError(f"{directory} has no checkpoint yet. Train it first.")
    checkpoint.load(newest, method=assembly.method)
    return Written(path=pages.write(assembly, directory, how=map))
