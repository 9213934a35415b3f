"""What is better known of videos before training than during it."""

import hashlib
import itertools
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np

from manyviews.core.nouns import noun_of
from manyviews.core.sample import Bytes, Unreadable, Window
from manyviews.data.doctor.findings import Findings, copies, counts, examined, length, spread, tally
from manyviews.data.doctor.looks import looks
from manyviews.data.duplicates import Print, print_of
from manyviews.data.sources import Media
from manyviews.data.streams.frames import FolderOfFrames
from manyviews.data.streams.video import Timing, Video

_LOOKS = 4
"""Pictures of each video that are decoded, and with them the last one."""
_SIDE = 64
"""Of each in the mosaic that near-duplicates are found by, in pixels."""
_UNEVEN = 0.2
"""Share by which one frame may stand longer than the median one and times still count as even."""
_SPARSE = 2.0
"""Seconds between key frames above which a clip costs more to find than to decode."""
_EARLY = 0.001
"""Seconds by which a video may be shorter than the windows that are cut out of it."""

Cuts = Callable[[float], Sequence[Window]]
"""Seconds of a video -> the windows that a recipe would cut out of it."""


@dataclass(frozen=True, kw_only=True)
class VideoReport(Findings):
    """What `doctor` found in videos: index and five pictures of each, not every frame.

    Attributes:
        streams: that a recipe wants of each file; videos without them are not counted.
        seconds: shortest, median and longest.
        hours: all together.
        rates: frames a second, on average, rounded to whole ones -> videos.
        uneven: videos whose frames stand for unlike times.
        still: videos of one frame.
        sides: [shorter side in pixels -> videos], in order of size.
        smallest, largest: [width, height] of the videos with the fewest and the most pixels.
        turned: videos that are shown turned by a quarter.
        codecs: as the headers say -> videos.
        keys: median over the videos of the longest time between key frames, and the longest of
            all, in seconds.
        asked: clips of each video that the recipe cuts, and the seconds of the longest.
        fit: videos that have room for all of them; in others the last frame stands.
        exact_duplicates: videos with the bytes of an earlier one.
        near_duplicates: other videos that look nearly like an earlier one at four times.
        same: some of the exact ones, each with the earlier one.
        pairs: some of the near ones, likewise.
    """

    streams: tuple[str, ...]
    seconds: tuple[float, float, float]
    hours: float
    rates: Mapping[str, int]
    uneven: int
    still: int
    sides: Mapping[str, int]
    smallest: tuple[int, int]
    largest: tuple[int, int]
    turned: int
    codecs: Mapping[str, int]
    keys: tuple[float, float]
    asked: tuple[int, float]
    fit: int
    exact_duplicates: int
    near_duplicates: int
    same: tuple[tuple[str, str], ...]
    pairs: tuple[tuple[str, str], ...]

    def lines(self) -> list[str]:
        """The report for people, a finding a line."""
        lines = self.heading(noun_of(self.streams), f"files with {' and '.join(self.streams)}")
        if not self.readable:
            return lines
        short, middle, long = self.seconds
        small, large = (f"{width} x {height}" for width, height in (self.smallest, self.largest))
        lines += [
            f"seconds: shortest {short:.3g}, median {middle:.3g}, longest {long:.3g}; "
            f"{length(self.hours)} in all",
            *self._clip_lines(),
            f"frames a second: {counts(self.rates)}",
            f"frames that stand for unlike times: in {self.uneven:,} (read by time, so that "
            "costs nothing)",
            f"shorter sides in pixels: {counts(self.sides)}",
            f"smallest {small}, largest {large} pixels; turned by a quarter: {self.turned:,}",
            f"stored as: {counts(self.codecs)}",
            f"seconds between key frames: median {self.keys[0]:.3g}, at most {self.keys[1]:.3g}",
            f"exact duplicates: {self.exact_duplicates:,}; near-duplicates: "
            f"{self.near_duplicates:,}",
            *(f"  {later} is the same as {first}" for later, first in self.same),
            *(f"  {later} looks like {first}" for later, first in self.pairs),
        ]
        return lines + self._advice()

    def _clip_lines(self) -> list[str]:
        count, seconds = self.asked
        if not count:
            return []
        clips = f"{count} clip{'s' if count > 1 else ''} of {seconds:.3g} s"
        fits = f"{self.fit:,} of {self.readable:,} ({self.fit / self.readable:.1%})"
        return [f"room for the recipe's {clips}: in {fits}; in others the last frame stands"]

    def _advice(self) -> list[str]:
        found: list[str] = []
        if self.still:
            found.append(f"{self.still:,} have one frame alone: no motion to learn from.")
        if self.keys[0] > _SPARSE:
            found.append(
                "Key frames are far apart, and a random clip is decoded from the one before it: "
                "`manyviews pack` makes them dense."
            )
        return found + self.copies_advice(self.exact_duplicates + self.near_duplicates)


@dataclass(frozen=True)
class _Look:
    """What one video gives to the report; `reason` is set for an unreadable one alone."""

    reason: str = ""
    seconds: float = 0.0
    rate: float = 0.0
    frames: int = 0
    uneven: bool = False
    size: tuple[int, int] = (0, 0)
    turned: bool = False
    codec: str = ""
    apart: float = 0.0
    content: bytes = b""
    looks: Print | None = None


def video_doctor(
    spec: str,
    streams: tuple[str, ...] = ("video",),
    *,
    plan: Cuts | None = None,
    max_bad: float = 0.01,
    workers: int = -1,
    sample: int = 0,
) -> VideoReport:
    """Look at videos and report, with a progress bar.

    Of each video the times of all frames are read, four frames spread over it and its last one are
    decoded, and a second of its sound where that is wanted too.

    Args:
        spec: as for `open_media`.
        streams: that each file has to have.
        plan: what a recipe would cut out of them.
        max_bad: as in training.
        workers: decoding processes; -1 chooses.
        sample: examine only this many, evenly spread; 0 examines all.

    Raises:
        UsageError: there is no such data.
    """
    source, found = looks(spec, streams, _look, workers=workers, sample=sample)
    read = [(source.name(index), look) for index, look in found.items() if not look.reason]
    seen = [look for _, look in read]
    return VideoReport(
        **examined(spec, source, found, ignored=source.manifest.ignored, max_bad=max_bad),
        streams=streams,
        hours=sum(look.seconds for look in seen) / 3600,
        rates=tally(f"{look.rate:.0f}" for look in seen),
        uneven=sum(look.uneven for look in seen),
        still=sum(look.frames == 1 for look in seen),
        turned=sum(look.turned for look in seen),
        codecs=tally(look.codec for look in seen),
        **_sizes(seen),
        **_times(seen, plan),
        **copies((name, look.content, look.looks) for name, look in read),
    )


def _look(source: Media, index: int) -> _Look:
    """Runs in workers."""
    try:
        streams = source.open(index)
        video = cast("Video | FolderOfFrames", streams["video"])
        timing = video.timing()
        pictures = _pictures(video)
        if "audio" in source.streams:
            streams["audio"].read(Window(0.0, min(1.0, streams["audio"].span), 0))
        content = _content(Path(source.name(index)))
    except Unreadable as error:
        return _Look(reason=error.reason)
    except OSError as error:
        return _Look(reason=error.strerror or str(error))
    height, width = pictures[0].shape[:2]
    span = min(streams[name].span for name in source.streams)
    return _Look(
        seconds=span,
        rate=video.header.rate,
        frames=len(timing.times),
        uneven=_uneven(timing),
        size=(width, height),
        turned=(width, height) == (video.header.height, video.header.width) and width != height,
        codec=video.header.codec,
        apart=_apart(timing, video.span),
        content=content,
        looks=print_of(_mosaic(pictures)),
    )


def _pictures(video: Video | FolderOfFrames) -> list[Bytes]:
    """Frames [H, W, 3] in the middles of equal parts. Raises Unreadable, also for the last one."""
    times = [(k + 0.5) * video.span / _LOOKS for k in range(_LOOKS)]
    pictures = [video.read(Window(time, time + 0.01, 1))[0] for time in times]
    video.read(Window(video.span, video.span + 0.01, 1))
    return pictures


def _mosaic(pictures: Sequence[Bytes]) -> Bytes:
    """[128, 128, 3]: two rows of two pictures."""
    tiles = [cv2.resize(each, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA) for each in pictures]
    return np.concatenate([np.concatenate(tiles[k : k + 2], axis=1) for k in (0, 2)]).astype(
        np.uint8
    )


def _uneven(timing: Timing) -> bool:
    steps = np.diff(timing.times)
    return bool(steps.size) and bool(steps.max() > (1 + _UNEVEN) * np.median(steps) + _EARLY)


def _apart(timing: Timing, end: float) -> float:
    """The longest time from a key frame to the next, or to the end."""
    edges = [*timing.keys.tolist(), max(end, float(timing.times[-1]))]
    return max((later - one for one, later in itertools.pairwise(edges)), default=end)


def _content(path: Path) -> bytes:
    """A hash of the bytes of a file, or of all pictures in a folder."""
    total = hashlib.blake2b(digest_size=16)
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        with file.open("rb") as opened:
            total.update(hashlib.file_digest(opened, "blake2b").digest())
    return total.digest()


def _sizes(seen: Sequence[_Look]) -> dict[str, Any]:
    if not seen:
        return {"sides": {}, "smallest": (0, 0), "largest": (0, 0)}
    sizes = [look.size for look in seen]
    sides = sorted(min(size) for size in sizes)
    return {
        "sides": {str(side): sides.count(side) for side in dict.fromkeys(sides)},
        "smallest": min(sizes, key=lambda size: size[0] * size[1]),
        "largest": max(sizes, key=lambda size: size[0] * size[1]),
    }


def _times(seen: Sequence[_Look], plan: Cuts | None) -> dict[str, Any]:
    spans = [look.seconds for look in seen] or [0.0]
    apart = [look.apart for look in seen] or [0.0]
    asked, fit = (0, 0.0), 0
    if plan is not None:
        windows = plan(max(spans))
        asked = len(windows), max((each.stop - each.start for each in windows), default=0.0)
        fit = sum(
            all(each.stop <= look.seconds + _EARLY for each in plan(look.seconds)) for look in seen
        )
    return {
        "seconds": spread(spans),
        "keys": (statistics.median(apart), max(apart)),
        "asked": asked,
        "fit": fit,
    }
