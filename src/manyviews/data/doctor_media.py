"""What is better known of videos and sounds before training than during it."""

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from manyviews.core.sample import Unreadable, Window
from manyviews.data.doctor import unreadable_lines
from manyviews.data.looks import looks
from manyviews.data.quarantine import Bad
from manyviews.data.sources import Media


@dataclass(frozen=True, kw_only=True)
class MediaReport:
    """What `doctor` found in videos and sounds.

    Attributes:
        spec, digest: the data and its hash.
        streams: that a recipe wants of each file.
        count: files that have them.
        examined: how many of those were opened, and their first second decoded.
        ignored: file-name ending -> files passed over.
        unreadable: which, and why.
        seconds: shortest, median and longest of the streams.
        sides: [shorter side in pixels -> videos], in order of size.
        max_bad: share of unreadable files above which a training stops, see `most_bad`.
    """

    spec: str
    digest: str
    streams: tuple[str, ...]
    count: int
    examined: int
    ignored: Mapping[str, int]
    unreadable: tuple[Bad, ...]
    seconds: tuple[float, float, float]
    sides: Mapping[str, int]
    max_bad: float

    def to_json(self) -> dict[str, Any]:
        """Plain data, for `json.dumps`."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The report for people, a finding a line."""
        part = "" if self.examined == self.count else f", {self.examined:,} of them examined"
        wanted = " and ".join(self.streams)
        lines = [
            f"{self.spec}: {self.count:,} files with {wanted}{part} (manifest {self.digest[:12]})"
        ]
        if self.ignored:
            passed = ", ".join(f"{ending}: {number:,}" for ending, number in self.ignored.items())
            lines.append(f"other files, ignored: {passed}")
        lines += unreadable_lines(self.unreadable, self.examined, self.max_bad, what="file")
        if self.examined > len(self.unreadable):
            short, middle, long = self.seconds
            lines.append(f"seconds: shortest {short:.3g}, median {middle:.3g}, longest {long:.3g}")
        if self.sides:
            sides = ", ".join(f"{side}: {number:,}" for side, number in self.sides.items())
            lines.append(f"shorter sides in pixels: {sides}")
        return lines


@dataclass(frozen=True)
class _Found:
    reason: str = ""
    seconds: float = 0.0
    side: int = 0


def media_doctor(
    spec: str,
    streams: tuple[str, ...],
    *,
    max_bad: float = 0.01,
    workers: int = -1,
    sample: int = 0,
) -> MediaReport:
    """Open videos and sounds, decode their first second and report, with a progress bar.

    Args:
        spec: as for `open_media`.
        streams: that each file has to have.
        max_bad: as in training.
        workers: decoding processes; -1 chooses.
        sample: examine only this many, evenly spread; 0 examines all.

    Raises:
        UsageError: there is no such data.
    """
    source, found = looks(spec, streams, _look, workers=workers, sample=sample)
    read = [look for look in found.values() if not look.reason]
    seconds = [look.seconds for look in read] or [0.0]
    sides = sorted(look.side for look in read if look.side)
    return MediaReport(
        spec=spec,
        digest=source.digest,
        streams=streams,
        count=len(source),
        examined=len(found),
        ignored=dict(source.manifest.ignored),
        unreadable=tuple(
            Bad(source.name(index), look.reason) for index, look in found.items() if look.reason
        ),
        seconds=(min(seconds), statistics.median(seconds), max(seconds)),
        sides={str(side): sides.count(side) for side in dict.fromkeys(sides)},
        max_bad=max_bad,
    )


def _look(source: Media, index: int) -> _Found:
    """Runs in workers."""
    try:
        streams = source.open(index)
        parts = {
            name: streams[name].read(Window(0.0, min(1.0, streams[name].span), 0))
            for name in source.streams
        }
    except Unreadable as error:
        return _Found(reason=error.reason)
    side = min(parts["video"].shape[1:3]) if "video" in parts else 0
    return _Found(seconds=min(streams[name].span for name in source.streams), side=side)
