"""What a recipe looks at before there are settings: a quick survey of the data, and the machine."""

from collections.abc import Sequence

from manyviews.core.inputs import IMAGENET_MEAN, IMAGENET_STD
from manyviews.data.settings import MAX_PIXELS
from manyviews.data.sources import open_media, open_source
from manyviews.data.survey import sides, stated_channels, survey
from manyviews.data.workers import cores
from manyviews.runs.settings import Facts
from manyviews.training import launch

CORE = 1.5e10
"""Multiply-adds a second of one core in training."""


def facts(
    data: str,
    streams: Sequence[str] = ("image",),
    *,
    channels: int = 0,
    max_pixels: int = MAX_PIXELS,
) -> Facts:
    """What a recipe looks at: a quick survey of the data, and the machine.

    Args:
        data: a folder, a text file of paths, `fashion-mnist:DIR` or `builtin:fashion`.
        streams: that the recipe takes.
        channels: bring images to this many; 0 takes 1 if all sampled images are grey, what all
            state that have another number, else 3.
        max_pixels: larger images are unreadable.
    """
    if tuple(streams) != ("image",):
        return _of_media(data, streams)
    if not channels:
        channels = stated_channels(open_source(data, channels=3, max_pixels=max_pixels))
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
        speed=_speed(),
    )


def _speed() -> float:
    """Of training without a GPU; with one it is not estimated, and 0."""
    return CORE * cores() if launch.device().type == "cpu" else 0.0


def _of_media(data: str, streams: Sequence[str]) -> Facts:
    """Videos are normalised as ImageNet's images are; sounds have no sides."""
    source = open_media(data, streams)
    return Facts(
        source=data,
        count=len(source),
        side=sides(source) or 256,
        channels=3,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
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
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        device=launch.device().type,
        cores=cores(),
    )
