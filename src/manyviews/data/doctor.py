"""Everything about a data set that is better known before training than during it."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from manyviews.core import UsageError
from manyviews.core.progress import bar
from manyviews.core.sample import Unreadable
from manyviews.data import workers as processes
from manyviews.data.duplicates import Print, near, print_of
from manyviews.data.quarantine import Bad, most_bad
from manyviews.data.sources import Files, ImageSource, open_source
from manyviews.data.statistics import Sums, add, is_grey

_SIDES = (32, 64, 128, 256, 512, 1024, 2048, 4096)
_SHOWN = 5
_BLANK = 1e-4

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """What `doctor` found.

    Attributes:
        spec, digest: the data and its hash.
        count: images, by name.
        examined: how many of them were read; all, unless a sample was asked for.
        ignored: file-name ending -> files passed over because they are not images.
        unreadable: which, and why.
        sides: range of the shorter side in pixels, such as "64-127" -> images.
        side: median of the shorter side.
        smallest, largest: [width, height] of the images with the fewest and the most pixels.
        modes: format and mode as stored, such as "JPEG RGB" -> images.
        stacks: images whose file has several pages or frames, of which the first is read.
        pages_left: the other pages of those.
        grey: images without colour, whatever their mode.
        blank: images of one single colour.
        exact_duplicates: images whose file (or pixels, in memory) an earlier one has too.
        near_duplicates: other images that look nearly like an earlier one.
        pairs: some examples of near-duplicates.
        mean, std: per channel, of pixels in [0, 1]; each image counts by its pixels.
        highest: the greatest pixel value met, of 255.
        max_bad: share of unreadable files above which a training stops, see `most_bad`.
    """

    spec: str
    digest: str
    count: int
    examined: int
    ignored: Mapping[str, int]
    unreadable: tuple[Bad, ...]
    sides: Mapping[str, int]
    side: int
    smallest: tuple[int, int]
    largest: tuple[int, int]
    modes: Mapping[str, int]
    stacks: int
    pages_left: int
    grey: int
    blank: int
    exact_duplicates: int
    near_duplicates: int
    pairs: tuple[tuple[str, str], ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    highest: int
    max_bad: float

    @property
    def readable(self) -> int:
        """Images examined that can be used."""
        return self.examined - len(self.unreadable)

    def to_json(self) -> dict[str, Any]:
        """Plain data, for `json.dumps`."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The report for people, a finding a line."""
        part = "" if self.examined == self.count else f", {self.examined:,} of them examined"
        lines = [f"{self.spec}: {self.count:,} images{part} (manifest {self.digest[:12]})"]
        if self.ignored:
            lines.append(f"other files, ignored: {_counts(self.ignored)}")
        lines += unreadable_lines(self.unreadable, self.examined, self.max_bad, what="image")
        if not self.readable:
            return lines
        small, large = (f"{w} x {h}" for w, h in (self.smallest, self.largest))
        lines += [
            f"shorter side: median {self.side} ({_counts(self.sides, by_count=False)})",
            f"smallest {small}, largest {large} pixels",
            f"stored as: {_counts(self.modes)}",
            *self._stack_lines(),
            f"without colour: {self.grey:,} of {self.readable:,}",
            f"exact duplicates: {self.exact_duplicates:,}; near-duplicates: "
            f"{self.near_duplicates:,}",
            *(f"  {_one_line(later)} looks like {_one_line(first)}" for later, first in self.pairs),
            f"mean {_numbers(self.mean)}, std {_numbers(self.std)}",
        ]
        return lines + self._advice()

    def _stack_lines(self) -> list[str]:
        if not self.stacks:
            return []
        return [
            f"of several pages or frames: {self.stacks:,}; the first is read, {self.pages_left:,} "
            "others are not (save each as a file of its own)"
        ]

    def _advice(self) -> list[str]:
        found: list[str] = []
        if self.grey == self.readable and len(self.mean) == 3:
            found.append("All images are grey: --data.channels 1 saves time.")
        if self.blank:
            found.append(f"{self.blank:,} images are of one single colour and teach nothing.")
        if self.highest < 64 and self.blank < self.readable:
            found.append(
                f"The brightest pixel is {self.highest} of 255: pixels of 12 bits stored in 16? "
                "Rescale the files."
            )
        copies = self.exact_duplicates + self.near_duplicates
        if copies > 0.01 * self.readable:
            found.append(
                f"{copies / self.readable:.1%} are copies: they are false negatives in "
                "contrastive methods, and leak between training and test sets."
            )
        return found


@dataclass(frozen=True)
class _Look:
    """What one image gives to the report; `reason` is set for an unreadable one alone."""

    reason: str = ""
    size: tuple[int, int] = (0, 0)
    mode: str = ""
    pages: int = 1
    grey: bool = False
    sums: Sums | None = None
    content: bytes = b""
    looks: Print | None = None


def doctor(
    spec: str,
    *,
    channels: int = 3,
    max_pixels: int = 200_000_000,
    max_bad: float = 0.01,
    workers: int = -1,
    sample: int = 0,
    progress: bool = True,
) -> DataReport:
    """Read a data set through and report on it, with a progress bar on a terminal's stderr.

    Args:
        spec: as for `open_source`.
        channels: as in training; a file that cannot be brought to them is unreadable.
        max_pixels: as in training.
        max_bad: as in training.
        workers: decoding processes; -1 chooses.
        sample: examine only this many, evenly spread; 0 examines all.
        progress: whether to show the bar.

    Raises:
        UsageError: there is no such data.
    """
    source = open_source(spec, channels=channels, max_pixels=max_pixels)
    if sample < 0:
        raise UsageError(f"--sample {sample} is not a number of images. Use 0 for all.")
    size = min(sample, len(source)) if sample else len(source)
    chosen: list[int] = np.linspace(0, len(source) - 1, size).round().astype(int).tolist()
    looks = processes.each(
        partial(_look, source),
        chosen,
        workers=processes.count(workers, in_memory=bool(source.stack)),
    )
    found = list(shown(looks, len(chosen)) if progress else looks)
    bad = tuple(
        Bad(source.name(index), look.reason)
        for index, look in zip(chosen, found, strict=True)
        if look.reason
    )
    readable = [(index, look) for index, look in zip(chosen, found, strict=True) if not look.reason]
    ignored = source.manifest.ignored if isinstance(source, Files) else {}
    return DataReport(
        spec=spec,
        digest=source.digest,
        count=len(source),
        examined=len(chosen),
        ignored=dict(ignored),
        unreadable=bad,
        max_bad=max_bad,
        **_sizes([look.size for _, look in readable]),
        **_pixels([look for _, look in readable]),
        **_copies(readable, source),
    )


def unreadable_lines(
    unreadable: Sequence[Bad], examined: int, max_bad: float, *, what: str
) -> list[str]:
    """How many of the examined cannot be read, which, and what becomes of them in training."""
    if not unreadable:
        return ["unreadable: none"]
    verdict = (
        f"above --data.max-bad {max_bad:g}: training would stop"
        if len(unreadable) > most_bad(max_bad, examined)
        else f"each is replaced by another {what} in training"
    )
    lines = [f"unreadable: {len(unreadable):,} ({len(unreadable) / examined:.2%}), {verdict}"]
    lines += [f"  {_one_line(bad.path)}: {bad.reason}" for bad in unreadable[:_SHOWN]]
    if len(unreadable) > _SHOWN:
        lines.append(f"  and {len(unreadable) - _SHOWN:,} more (see --json)")
    return lines


def length(hours: float) -> str:
    """For people: 16 seconds, 4.2 minutes, 31 hours."""
    for unit, in_hours in (("hours", 1), ("minutes", 60)):
        if hours * in_hours >= 1:
            return f"{hours * in_hours:.3g} {unit}"
    return f"{hours * 3600:.3g} seconds"


def _look(source: ImageSource, index: int) -> _Look:
    """Runs in workers."""
    try:
        header = source.header(index)
        image = source.read(index)
        raw = source.raw(index)
    except Unreadable as error:
        return _Look(reason=error.reason)
    except OSError as error:
        return _Look(reason=error.strerror or str(error))
    return _Look(
        size=(image.shape[1], image.shape[0]),
        mode=f"{header.format} {header.mode}",
        pages=header.pages,
        grey=is_grey(image),
        sums=Sums.of(image),
        content=hashlib.blake2b(image.tobytes() if raw is None else raw, digest_size=16).digest(),
        looks=print_of(image),
    )


def shown(looks: Iterator[T], total: int) -> Iterator[T]:
    """The same, with a progress bar."""
    with bar("reading") as progress:
        for done, look in enumerate(looks, 1):
            yield look
            progress(done, total)


def _sizes(sizes: Sequence[tuple[int, int]]) -> dict[str, Any]:
    if not sizes:
        return {"sides": {}, "side": 0, "smallest": (0, 0), "largest": (0, 0)}
    shorter = [min(size) for size in sizes]
    places = Counter(np.searchsorted(_SIDES, shorter, side="right").tolist())
    return {
        "sides": {_range(place): places[place] for place in sorted(places)},
        "side": int(np.median(shorter)),
        "smallest": min(sizes, key=lambda size: size[0] * size[1]),
        "largest": max(sizes, key=lambda size: size[0] * size[1]),
    }


def _range(place: int) -> str:
    if place == len(_SIDES):
        return f"{_SIDES[-1]} and more"
    return f"{_SIDES[place - 1] if place else 1}-{_SIDES[place] - 1}"


def _pixels(looks: Sequence[_Look]) -> dict[str, Any]:
    sums = [look.sums for look in looks if look.sums is not None]
    if not sums:
        nothing = {"grey": 0, "blank": 0, "mean": (), "std": (), "highest": 0}
        return {"modes": {}, "stacks": 0, "pages_left": 0} | nothing
    total = add(sums)
    return {
        "modes": dict(Counter(look.mode for look in looks).most_common()),
        "stacks": sum(look.pages > 1 for look in looks),
        "pages_left": sum(look.pages - 1 for look in looks),
        "grey": sum(look.grey for look in looks),
        "blank": sum(max(part.std) < _BLANK for part in sums),
        "mean": total.mean,
        "std": total.std,
        "highest": total.high,
    }


def _copies(readable: Sequence[tuple[int, _Look]], source: ImageSource) -> dict[str, Any]:
    seen: set[bytes] = set()
    unique: list[tuple[int, _Look]] = []
    for index, look in readable:
        if look.content not in seen:
            seen.add(look.content)
            unique.append((index, look))
    first = near([look.looks for _, look in unique if look.looks is not None])
    later = np.flatnonzero(first >= 0)
    pairs = [(source.name(unique[i][0]), source.name(unique[first[i]][0])) for i in later[:_SHOWN]]
    return {
        "exact_duplicates": len(readable) - len(unique),
        "near_duplicates": len(later),
        "pairs": tuple(pairs),
    }


def _counts(counts: Mapping[str, int], *, by_count: bool = True) -> str:
    items = list(counts.items())
    if by_count:
        items.sort(key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name}: {number:,}" for name, number in items)


def _numbers(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:.4f}" for value in values) + ")"


def _one_line(path: str) -> str:
    return path if path.isprintable() else repr(path)
