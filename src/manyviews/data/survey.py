"""What a recipe wants to know of the data, in a second: headers and a few images."""

import contextlib
import re
import statistics
from dataclasses import dataclass

import numpy as np

from manyviews.core import UsageError
from manyviews.core.sample import Unreadable, Window
from manyviews.data.order import permutation
from manyviews.data.sources import ImageSource, Media
from manyviews.data.statistics import Sums, add, is_grey
from manyviews.data.streams.image import Header

_FEWEST = 8
_PIXELS = 32_000_000
_VIDEOS = 20


@dataclass(frozen=True, kw_only=True)
class Survey:
    """A look at a data set.

    Attributes:
        count: images, by name; some may turn out to be unreadable.
        side: median of the shorter side, in pixels.
        channels: 1 if every image looked at is grey, whatever it is stored as; else the source's.
        mean: per channel, of pixels in [0, 1]; as many numbers as `channels`.
        std: likewise.
    """

    count: int
    side: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def survey(source: ImageSource, *, sample: int = 256) -> Survey:
    """Look at `sample` evenly spread images: their headers, and their pixels.

    Where they are large fewer are decoded, about 32 million pixels and at least 8 images. The same
    data give the same answer.

    Raises:
        UsageError: none of the sample can be read.
    """
    count = len(source)
    chosen = np.unique(np.linspace(0, count - 1, min(sample, count)).round().astype(np.int64))
    headers: list[Header] = []
    usable: list[int] = []
    reason = ""
    for index in chosen.tolist():
        try:
            headers.append(source.header(index))
            usable.append(index)
        except Unreadable as error:
            reason = reason or f"{error.path}: {error.reason}"
    looks, grey, failed = _decode(source, usable)
    if not looks:
        raise UsageError(
            f"None of {len(chosen)} images tried in {source.spec} can be read; for instance "
            f"{reason or failed}. Run `manyviews doctor {source.spec}`."
        )
    sums = add(looks)
    channels = 1 if grey else source.channels
    if grey and source.channels > 1:
        sums = Sums(sums.count, sums.total[:1], sums.squares[:1], sums.low, sums.high)
    return Survey(
        count=count,
        side=int(np.median([min(header.width, header.height) for header in headers])),
        channels=channels,
        mean=sums.mean,
        std=sums.std,
    )


def stated_channels(source: ImageSource, *, sample: int = 32) -> int:
    """The channels that all of some headers state, where that is not grey or colour; else 0.

    Instruments' files alone do ("5x16"): a photograph can be brought to 1 or 3.
    """
    stated: set[str] = set()
    for index in _spread(list(range(len(source))))[:sample]:
        with contextlib.suppress(Unreadable):
            stated.add(source.header(index).mode)
    found = [re.fullmatch(r"(\d+)x\d+", mode) for mode in stated]
    counts = {int(each[1]) if each else 0 for each in found}
    only = counts.pop() if len(counts) == 1 else 0
    return 0 if only in (1, 3) else only


def sides(source: Media) -> int:
    """Median of the shorter sides of the first frames of a few videos; 0 where none is read."""
    found: list[int] = []
    for index in range(min(_VIDEOS, len(source)) if "video" in source.streams else 0):
        try:
            video = source.open(index)["video"]
            frames = video.read(Window(0.0, min(1.0, video.span), 1))
        except Unreadable:
            continue
        found.append(min(frames.shape[1:3]))
    return int(statistics.median(found)) if found else 0


def _decode(source: ImageSource, usable: list[int]) -> tuple[list[Sums], bool, str]:
    """Sums of some images, whether all of those are grey, and why one could not be read."""
    looks: list[Sums] = []
    grey, reason = source.channels in (1, 3), ""
    for index in _spread(usable):
        if len(looks) >= _FEWEST and sum(look.count for look in looks) > _PIXELS:
            break
        try:
            image = source.read(index)
        except Unreadable as error:
            reason = reason or f"{error.path}: {error.reason}"
            continue
        looks.append(Sums.of(image))
        grey = grey and is_grey(image)
    return looks, grey, reason


def _spread(items: list[int]) -> list[int]:
    """The same items, in an order whose every beginning is spread over all of them."""
    order = permutation(len(items), seed=0, epoch=0)
    return [items[place] for place in order]
