"""What is better known of clouds of points before training than during it."""

import hashlib
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from manyviews.core.nouns import noun_of
from manyviews.core.sample import Unreadable
from manyviews.data.doctor.findings import SHOWN, Findings, examined, spread
from manyviews.data.doctor.looks import looks
from manyviews.data.sources import Media
from manyviews.data.streams.points import COLUMNS

_FLAT = 1e-3
"""Of the longest extent: a cloud with a shorter one is a plane or a line."""
_FEW = 256
"""Points, below which a cloud mostly repeats them."""
_SPREAD = 1000.0
"""Times that the largest cloud may be as long as the smallest before units are doubted."""


@dataclass(frozen=True, kw_only=True)
class CloudReport(Findings):
    """What `doctor` found in clouds; one without points is unreadable.

    Attributes:
        points: fewest, median and most of a cloud, that can be used.
        not_finite: points left out because a coordinate is NaN or infinite, in all.
        in_clouds: clouds that have such points.
        extents: shortest, median and longest of the clouds' longest sides.
        flat: clouds that are planes or lines.
        repeated: share of the points that stand where another one of their cloud does.
        colour, normals: clouds that have them.
        exact_duplicates: clouds with the same points as an earlier one.
        pairs: some of them, with the earlier one.
    """

    points: tuple[int, int, int]
    not_finite: int
    in_clouds: int
    extents: tuple[float, float, float]
    flat: int
    repeated: float
    colour: int
    normals: int
    exact_duplicates: int
    pairs: tuple[tuple[str, str], ...]

    def lines(self) -> list[str]:
        """The report for people, a finding a line."""
        lines = self.heading(noun_of(["points"]))
        if not self.readable:
            return lines
        few, middle, many = self.points
        short, median, long = self.extents
        lines += [
            f"points: fewest {few:,}, median {middle:,}, most {many:,}",
            f"longest side: shortest {short:.3g}, median {median:.3g}, longest {long:.3g}",
            f"with colour: {self.colour:,}, with normals: {self.normals:,} of {self.readable:,}",
            f"exact duplicates: {self.exact_duplicates:,}",
            *(f"  {later} is the same as {first}" for later, first in self.pairs),
        ]
        return lines + self._advice()

    def _advice(self) -> list[str]:
        found: list[str] = []
        if self.not_finite:
            found.append(
                f"{self.not_finite:,} points in {self.in_clouds:,} clouds have a coordinate that "
                "is NaN or infinite; they are left out."
            )
        if self.flat:
            found.append(f"{self.flat:,} clouds are planes or lines: is a column missing?")
        if self.repeated > 0.01:
            found.append(f"{self.repeated:.1%} of the points repeat another one of their cloud.")
        if self.points[0] < _FEW:
            found.append(f"Some clouds have fewer than {_FEW} points: views repeat them.")
        if self.extents[2] > _SPREAD * self.extents[0]:
            found.append(
                "The largest cloud is more than a thousand times as long as the smallest: are "
                "some in millimetres? Scale the files, or feed each at its own size "
                "(--encoders.NAME.input.unit true)."
            )
        return found + self.copies_advice(self.exact_duplicates)


@dataclass(frozen=True)
class _Look:
    reason: str = ""
    points: int = 0
    lost: int = 0
    extents: tuple[float, float] = (0.0, 0.0)
    repeated: int = 0
    has: tuple[str, ...] = ()
    content: bytes = b""


def cloud_doctor(
    spec: str,
    streams: tuple[str, ...],
    *,
    max_bad: float = 0.01,
    workers: int = -1,
    sample: int = 0,
) -> CloudReport:
    """Read clouds and report, with a progress bar.

    Args:
        spec: as for `open_media`.
        streams: ("points",).
        max_bad: as in training.
        workers: decoding processes; -1 chooses.
        sample: examine only this many, evenly spread; 0 examines all.

    Raises:
        UsageError: there is no such data.
    """
    source, found = looks(spec, streams, _look, workers=workers, sample=sample)
    read = {source.name(i): look for i, look in found.items() if not look.reason}
    same = _same(read)
    return CloudReport(
        **examined(spec, source, found, ignored=source.manifest.ignored, max_bad=max_bad),
        exact_duplicates=len(same),
        pairs=tuple(same[:SHOWN]),
        **_numbers(list(read.values())),
    )


def _numbers(looks: Sequence[_Look]) -> dict[str, Any]:
    points = [look.points for look in looks] or [0]
    return {
        "points": (min(points), int(statistics.median(points)), max(points)),
        "not_finite": sum(look.lost for look in looks),
        "in_clouds": sum(look.lost > 0 for look in looks),
        "extents": spread([look.extents[1] for look in looks]),
        "flat": sum(look.extents[0] < _FLAT * look.extents[1] for look in looks),
        "repeated": sum(look.repeated for look in looks) / max(1, sum(points)),
        "colour": sum("colour" in look.has for look in looks),
        "normals": sum("normals" in look.has for look in looks),
    }


def _same(read: Mapping[str, _Look]) -> list[tuple[str, str]]:
    """Names of clouds, each with that of the first one that has the same points."""
    first: dict[bytes, str] = {}
    return [
        (name, first[look.content])
        for name, look in read.items()
        if first.setdefault(look.content, name) != name
    ]


def _look(source: Media, index: int) -> _Look:
    """Runs in workers."""
    try:
        cloud: Any = source.open(index)[source.streams[0]]
        rows = cloud.read()
    except Unreadable as error:
        return _Look(reason=error.reason)
    xyz = rows[:, :3]
    sides = np.ptp(xyz, axis=0)
    return _Look(
        points=len(rows),
        lost=cloud.lost,
        extents=(float(sides.min()), float(sides.max())),
        repeated=len(rows) - len(np.unique(xyz, axis=0)),
        has=tuple(k for k, part in COLUMNS.items() if not np.isnan(rows[:, part]).all()),
        content=hashlib.blake2b(rows.tobytes(), digest_size=16).digest(),
    )
