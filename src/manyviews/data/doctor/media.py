"""What is better known of videos and sounds before training than during it."""

from collections.abc import Mapping
from dataclasses import dataclass

from manyviews.core.nouns import noun_of
from manyviews.core.sample import Unreadable, Window
from manyviews.data.doctor.findings import Findings, counts, examined, spread
from manyviews.data.doctor.looks import looks
from manyviews.data.sources import Media


@dataclass(frozen=True, kw_only=True)
class MediaReport(Findings):
    """What `doctor` found in videos and sounds, of which the first second was decoded.

    Attributes:
        streams: that a recipe wants of each file.
        seconds: shortest, median and longest of the streams.
        sides: [shorter side in pixels -> videos], in order of size.
    """

    streams: tuple[str, ...]
    seconds: tuple[float, float, float]
    sides: Mapping[str, int]

    def lines(self) -> list[str]:
        """The report for people, a finding a line."""
        lines = self.heading(noun_of(self.streams), f"files with {' and '.join(self.streams)}")
        if self.readable:
            short, middle, long = self.seconds
            lines.append(f"seconds: shortest {short:.3g}, median {middle:.3g}, longest {long:.3g}")
        if self.sides:
            lines.append(f"shorter sides in pixels: {counts(self.sides)}")
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
    sides = sorted(look.side for look in read if look.side)
    return MediaReport(
        **examined(spec, source, found, ignored=source.manifest.ignored, max_bad=max_bad),
        streams=streams,
        seconds=spread([look.seconds for look in read]),
        sides={str(side): sides.count(side) for side in dict.fromkeys(sides)},
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
