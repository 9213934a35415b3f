"""What is better known of images before training than during it."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from manyviews.core import UsageError
from manyviews.core.nouns import IMAGE
from manyviews.core.sample import Unreadable
from manyviews.data import workers as processes
from manyviews.data.doctor.findings import Findings, copies, counts, examined, one_line, tally
from manyviews.data.doctor.looks import shown
from manyviews.data.duplicates import Print, print_of
from manyviews.data.sources import Files, ImageSource, open_source
from manyviews.data.statistics import Sums, add, is_grey

_SIDES = (32, 64, 128, 256, 512, 1024, 2048, 4096)
_BLANK = 1e-4
_NAMED = 3
"""Blank images that are named."""


@dataclass(frozen=True, kw_only=True)
class DataReport(Findings):
    """What `doctor` found in images.

    Attributes:
        sides: range of the shorter side in pixels, such as "64-127" -> images.
        side: median of the shorter side.
        smallest, largest: [width, height] of the images with the fewest and the most pixels.
        modes: format and mode as stored, such as "JPEG RGB" -> images.
        stacks: images whose file has several pages or frames, of which the first is read.
        pages_left: the other pages of those.
        grey: images without colour, whatever their mode.
        blank: images of one single colour.
        blanks: names of the first of those.
        exact_duplicates: images whose file (or pixels, in memory) an earlier one has too.
        near_duplicates: other images that look nearly like an earlier one.
        same: some of the exact ones, each with the earlier one.
        pairs: some of the near ones, likewise.
        mean, std: per channel, of pixels in [0, 1]; each image counts by its pixels.
        highest: the greatest pixel value met, of 255.
    """

    sides: Mapping[str, int]
    side: int
    smallest: tuple[int, int]
    largest: tuple[int, int]
    modes: Mapping[str, int]
    stacks: int
    pages_left: int
    grey: int
    blank: int
    blanks: tuple[str, ...]
    exact_duplicates: int
    near_duplicates: int
    same: tuple[tuple[str, str], ...]
    pairs: tuple[tuple[str, str], ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    highest: int

    def lines(self) -> list[str]:
        """The report for people, a finding a line."""
        lines = self.heading(IMAGE)
        if not self.readable:
            return lines
        small, large = (f"{w} x {h}" for w, h in (self.smallest, self.largest))
        lines += [
            f"shorter side: median {self.side} ({counts(self.sides)})",
            f"smallest {small}, largest {large} pixels",
            f"stored as: {counts(self.modes)}",
            *self._stack_lines(),
            f"without colour: {self.grey:,} of {self.readable:,}",
            f"exact duplicates: {self.exact_duplicates:,}; near-duplicates: "
            f"{self.near_duplicates:,}",
            *(
                f"  {one_line(later)} is the same as {one_line(first)}"
                for later, first in self.same
            ),
            *(f"  {one_line(later)} looks like {one_line(first)}" for later, first in self.pairs),
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
            more = ", ..." if self.blank > len(self.blanks) else ""
            named = ", ".join(map(one_line, self.blanks))
            one = self.blank == 1
            found.append(
                f"{self.blank:,} image{' is' if one else 's are'} of one single colour and "
                f"teach{'es' if one else ''} nothing: {named}{more}"
            )
        if self.highest < 64 and self.blank < self.readable:
            found.append(
                f"The brightest pixel is {self.highest} of 255: pixels of 12 bits stored in 16? "
                "Rescale the files."
            )
        return found + self.copies_advice(self.exact_duplicates + self.near_duplicates)


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
    each = shown(looks, len(chosen)) if progress else looks
    found = dict(zip(chosen, each, strict=True))
    read = [(source.name(index), look) for index, look in found.items() if not look.reason]
    seen = [look for _, look in read]
    ignored = source.manifest.ignored if isinstance(source, Files) else {}
    return DataReport(
        **examined(spec, source, found, ignored=ignored, max_bad=max_bad),
        **_sizes([look.size for look in seen]),
        **_pixels(seen),
        blanks=tuple([name for name, look in read if _is_blank(look.sums)][:_NAMED]),
        **copies((name, look.content, look.looks) for name, look in read),
    )


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
        "modes": tally(look.mode for look in looks),
        "stacks": sum(look.pages > 1 for look in looks),
        "pages_left": sum(look.pages - 1 for look in looks),
        "grey": sum(look.grey for look in looks),
        "blank": sum(map(_is_blank, sums)),
        "mean": total.mean,
        "std": total.std,
        "highest": total.high,
    }


def _is_blank(sums: Sums | None) -> bool:
    return sums is not None and max(sums.std) < _BLANK


def _numbers(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:.4f}" for value in values) + ")"
