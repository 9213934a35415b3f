"""What `doctor` says of data of any kind: how many, which are unreadable, which are copies."""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from manyviews.core.nouns import Noun
from manyviews.core.sample import Source
from manyviews.data.duplicates import Print, near
from manyviews.data.quarantine import Bad, most_bad

SHOWN, _LISTED = 5, 12
"""Examples of a finding, and kinds of a thing, that lines name; JSON has all kinds."""


class Glance(Protocol):
    """What was seen of one sample."""

    @property
    def reason(self) -> str:
        """Why it cannot be read; "" where it can."""
        ...


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What `doctor` found, whatever the data are.

    Attributes:
        spec, digest: the data and its hash.
        count: samples: images, videos, sounds or clouds.
        examined: how many of them were read; all, unless a sample was asked for.
        ignored: file-name ending -> files passed over.
        unreadable: which, and why.
        max_bad: share of unreadable files above which a training stops, see `most_bad`.
    """

    spec: str
    digest: str
    count: int
    examined: int
    ignored: Mapping[str, int]
    unreadable: tuple[Bad, ...]
    max_bad: float

    @property
    def readable(self) -> int:
        """Samples examined that can be used."""
        return self.examined - len(self.unreadable)

    def to_json(self) -> dict[str, Any]:
        """Plain data, for `json.dumps`."""
        return asdict(self)

    def heading(self, noun: Noun, what: str = "") -> list[str]:
        """The first lines of every report.

        Args:
            noun: what samples are called.
            what: is counted, where that is not told by the noun alone.
        """
        part = "" if self.examined == self.count else f", {self.examined:,} of them examined"
        lines = [
            f"{self.spec}: {self.count:,} {what or noun.many}{part} (manifest {self.digest[:12]})"
        ]
        if self.ignored:
            lines.append(f"other files, ignored: {counts(_by_count(self.ignored))}")
        if not self.unreadable:
            return [*lines, "unreadable: none"]
        verdict = (
            f"above --data.max-bad {self.max_bad:g}: training would stop"
            if len(self.unreadable) > most_bad(self.max_bad, self.examined)
            else f"each is replaced by another {noun.one} in training"
        )
        share = len(self.unreadable) / self.examined
        lines.append(f"unreadable: {len(self.unreadable):,} ({share:.2%}), {verdict}")
        lines += [f"  {one_line(bad.path)}: {bad.reason}" for bad in self.unreadable[:SHOWN]]
        if len(self.unreadable) > SHOWN:
            lines.append(f"  and {len(self.unreadable) - SHOWN:,} more (see --json)")
        return lines

    def copies_advice(self, copies: int) -> list[str]:
        """What copies do, if there are many: a line or none."""
        if copies <= 0.01 * self.readable:
            return []
        return [
            f"{copies / self.readable:.1%} are copies: they are false negatives in "
            "contrastive methods, and leak between training and test sets."
        ]


def length(hours: float) -> str:
    """For people: 16 seconds, 4.2 minutes, 31 hours."""
    for unit, in_hours in (("hours", 1), ("minutes", 60)):
        if hours * in_hours >= 1:
            return f"{hours * in_hours:.3g} {unit}"
    return f"{hours * 3600:.3g} seconds"


def examined(
    spec: str,
    source: Source,
    found: Mapping[int, Glance],
    *,
    ignored: Mapping[str, int],
    max_bad: float,
) -> dict[str, Any]:
    """The fields of `Findings`.

    Args:
        spec: the data.
        source: its samples.
        found: position -> what was seen there.
        ignored: as in `Findings`.
        max_bad: as in training.
    """
    bad = [Bad(source.name(index), look.reason) for index, look in found.items() if look.reason]
    return {
        "spec": spec,
        "digest": source.digest,
        "count": len(source),
        "examined": len(found),
        "ignored": dict(ignored),
        "unreadable": tuple(bad),
        "max_bad": max_bad,
    }


def copies(read: Iterable[tuple[str, bytes, Print | None]]) -> dict[str, Any]:
    """Exact copies, near ones among the others, and some pairs of either.

    Args:
        read: name, hash of the content, and what it looks or sounds like, if it can be compared.
    """
    seen: dict[bytes, str] = {}
    unique: list[tuple[str, Print]] = []
    exact: list[tuple[str, str]] = []
    for name, content, looks in read:
        if content in seen:
            exact.append((name, seen[content]))
            continue
        seen[content] = name
        if looks is not None:
            unique.append((name, looks))
    first = near([looks for _, looks in unique])
    later = np.flatnonzero(first >= 0)
    return {
        "exact_duplicates": len(exact),
        "near_duplicates": len(later),
        "same": tuple(exact[:SHOWN]),
        "pairs": tuple((unique[i][0], unique[first[i]][0]) for i in later[:SHOWN]),
    }


def tally(names: Iterable[str]) -> dict[str, int]:
    """How often each occurs, the most frequent first."""
    return _by_count(Counter(names))


def counts(numbers: Mapping[str, int]) -> str:
    """In their order; of many the first ones."""
    told = [f"{name}: {number:,}" for name, number in list(numbers.items())[:_LISTED]]
    left = len(numbers) - len(told)
    return ", ".join([*told, f"and {left:,} more (see --json)"] if left > 0 else told)


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Least, median, greatest; zeros of nothing."""
    return (min(values), statistics.median(values), max(values)) if values else (0.0, 0.0, 0.0)


def one_line(path: str) -> str:
    """A path that may hold anything, as it is shown."""
    return path if path.isprintable() else repr(path)


def _by_count(numbers: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(numbers.items(), key=lambda item: (-item[1], item[0])))
