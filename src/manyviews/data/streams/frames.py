"""A folder of numbered pictures as a video."""

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from manyviews.core.sample import WHOLE, Unreadable, Window
from manyviews.data.streams.image import SUFFIXES, read, read_header
from manyviews.data.streams.video import Clip, Timing, VideoHeader

_MAX_PIXELS = 200_000_000
_EARLY = 1e-6
"""Of a frame, by which a time may be early for it: times are sums of rounded numbers."""


def frame_names(folder: Path) -> list[str]:
    """The pictures in a folder by name, numbers in names by their value. Raises OSError."""
    with os.scandir(folder) as listing:
        names = [entry.name for entry in listing if _is_frame(entry.name)]
    return sorted(names, key=by_number)


def _is_frame(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122 - Path costs ten times as much


def by_number(name: str) -> tuple[list[tuple[int, str]], str]:
    """What names are put in order by: 2 comes before 10."""
    parts = re.findall(r"\d+|\D+", name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts], name


class FolderOfFrames:
    """Windows are [T, H, W, 3] uint8: picture k is shown from k / rate on.

    After the last one that stands, as in `Video`.

    Attributes:
        header: the size is that of the first picture.
        span: in seconds.
    """

    def __init__(self, path: str, *, rate: float) -> None:
        """List the folder and read the first picture's header.

        Args:
            path: of the folder.
            rate: pictures a second.

        Raises:
            Unreadable: no such folder, or no pictures in it.
        """
        self._path = path
        try:
            self._names = frame_names(Path(path))
        except OSError as error:
            raise Unreadable(path, error.strerror or str(error)) from error
        if not self._names:
            raise Unreadable(path, "it has no frames")
        first = read_header(self._file(0), max_pixels=_MAX_PIXELS)
        self.header = VideoHeader(
            width=first.width,
            height=first.height,
            rate=rate,
            seconds=len(self._names) / rate,
            codec=first.format,
        )
        self.span = self.header.seconds

    def timing(self) -> Timing:
        """When each picture is shown; each is a key frame."""
        times = np.arange(len(self._names)) / self.header.rate
        return Timing(times, times)

    def each(self) -> Iterator[tuple[float, Clip]]:
        """Yield (time, [H, W, 3] uint8) of every picture in turn. Raises Unreadable."""
        for k in range(len(self._names)):
            yield k / self.header.rate, self._picture(k)

    def read(self, window: Window = WHOLE) -> Clip:
        """[T, H, W, 3] uint8: `window.count` frames, or all that are shown first in the window.

        Raises:
            Unreadable: a picture is broken, or of another size than the others.
        """
        chosen = self._chosen(window)
        if not chosen.size:
            reason = f"no frame begins from {window.start:.2f} to {window.stop:.2f} s"
            raise Unreadable(self._path, reason)
        wanted, places = np.unique(chosen, return_inverse=True)
        pictures = [self._picture(k) for k in wanted]
        sizes = {picture.shape for picture in pictures}
        if len(sizes) > 1:
            said = " and ".join(f"{width} x {height}" for height, width, _ in sorted(sizes))
            raise Unreadable(self._path, f"its frames change size ({said})")
        return np.stack(pictures)[places]

    def _chosen(self, window: Window) -> NDArray[np.int64]:
        rate, count = self.header.rate, len(self._names)
        if not window.count:
            first = math.ceil(window.start * rate - _EARLY)
            return np.arange(max(0, first), math.ceil(min(count, window.stop * rate - _EARLY)))
        step = (window.stop - window.start) / window.count
        times = window.start + np.arange(window.count) * step
        return np.clip(np.floor(times * rate + _EARLY).astype(np.int64), 0, count - 1)

    def _picture(self, k: int) -> Clip:
        return read(self._file(k), channels=3, max_pixels=_MAX_PIXELS)

    def _file(self, k: int) -> str:
        return os.path.join(self._path, self._names[k])  # noqa: PTH118 - Path costs ten times as much
