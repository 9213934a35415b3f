"""What a recipe looks at before there are settings: a quick survey of the data, and the machine."""

from manyviews.data.settings import MAX_PIXELS
from manyviews.data.sources import open_source
from manyviews.data.survey import survey
from manyviews.data.workers import cores
from manyviews.runs.settings import Facts
from manyviews.training import launch


def facts(data: str, *, channels: int = 0, max_pixels: int = MAX_PIXELS) -> Facts:
    """What a recipe looks at: a quick survey of the data, and the machine.

    Args:
        data: a folder, a text file of paths, `fashion-mnist:DIR` or `builtin:fashion`.
        channels: bring images to this many; 0 takes 1 if all sampled images are grey, else 3.
        max_pixels: larger images are unreadable.
    """
    first = survey(open_source(data, channels=channels or 3, max_pixels=max_pixels))
    chosen = channels or first.channels
    seen = first
    if chosen != (channels or 3):
        seen = survey(open_source(data, channels=chosen, max_pixels=max_pixels))
    return Facts(
        source=data,
        count=seen.count,
        side=seen.side,
        channels=chosen,
        mean=seen.mean,
        std=seen.std,
        device=launch.device().type,
        cores=cores(),
    )


def typical_facts() -> Facts:
    """Stand-ins, so that a recipe's settings can be shown before there is any data."""
    return Facts(
        source="DATA",
        count=10_000,
        side=256,
        channels=3,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        device=launch.device().type,
        cores=cores(),
    )
