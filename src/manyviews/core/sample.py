"""One sample of a data set: its streams, windows cut out of them, and what makes views of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from manyviews.core.inputs import Input

Bytes = NDArray[np.uint8]
"""Pictures, and what they are made of, as files have them."""
Floats = NDArray[np.float64]
Arrays = Mapping[str, NDArray[Any]]
"""Raw views or cues by name."""

_LARGE_PAGES = 1 << 22
"""From so many bytes on numpy asks the system for large pages, which spares most page faults."""


class Unreadable(Exception):
    """A sample that cannot be used; `path` and a one-line `reason`."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason


@dataclass(frozen=True)
class Window:
    """A piece of a stream, [start, stop) in seconds.

    Attributes:
        start: counted from the beginning of the file.
        stop: where it ends; beyond the end of the stream is allowed.
        count: frames or samples, evenly spaced: number k is of time
            start + k * (stop - start) / count. 0 for all that the stream has there.
    """

    start: float
    stop: float
    count: int


WHOLE = Window(0.0, inf, 0)
"""All of a stream, at its own rate."""


class Stream(Protocol):
    """One stream of one sample: opened, not decoded, and used in one process."""

    @property
    def span(self) -> float:
        """Length in seconds; 0 for what has no time (pictures, clouds)."""
        ...

    def read(self, window: Window = WHOLE) -> NDArray[Any]:
        """Decode a window, and no more than it needs.

        Returns:
            [H, W, C] uint8 of a picture, [T, H, W, C] uint8 of a video, [S] float32 of sound,
            [N, 9] float32 of a cloud.

        Raises:
            Unreadable: for whatever reason.
        """
        ...


class Source(Protocol):
    """Samples by position, without labels. Picklable."""

    @property
    def spec(self) -> str:
        """What the user called it."""
        ...

    @property
    def digest(self) -> str:
        """A hash that changes when the data does."""
        ...

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of the streams that every sample has."""
        ...

    @property
    def stack(self) -> Mapping[str, NDArray[Any]]:
        """All samples [N, ...] of each stream that is in memory anyway, by its name."""
        ...

    def __len__(self) -> int: ...

    def open(self, index: int) -> Mapping[str, Stream]:
        """The streams of one sample, by name. Raises `Unreadable`."""
        ...

    def name(self, index: int) -> str:
        """A path, or for instance "builtin:fashion#12"."""
        ...

    def raw(self, index: int) -> bytes | None:
        """The file's bytes, or None where the source has no files. Raises OSError."""
        ...


@dataclass(frozen=True)
class Layout:
    """The array that a family fills for one sample: [count, *shape].

    Attributes:
        count: V.
        shape: of one raw view (of one value, for a cue).
        dtype: of its numbers.
    """

    count: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class Maker(Protocol):
    """Makes the views of one family; pure in (seed, epoch, index, view).

    View v depends neither on how many views there are nor on the batch, process or order in
    which it is made.
    """

    @property
    def layout(self) -> Layout:
        """Of the raw views, before `Input.finish`."""
        ...

    @property
    def cues(self) -> Mapping[str, Layout]:
        """The layouts of the cues that calls return, by name."""
        ...

    def windows(
        self, index: int, epoch: int, span: float, around: Sequence[Window] = ()
    ) -> list[Window]:
        """What to decode, one window a view.

        Args:
            index: position of the sample in the data set.
            epoch: counted from 0.
            span: of the stream, in seconds.
            around: the windows of the family that this one is cut around, row by row.
        """
        ...

    def __call__(
        self,
        decoded: Sequence[NDArray[Any]],
        windows: Sequence[Window],
        index: int,
        epoch: int,
        out: NDArray[Any],
        around: Sequence[Window] = (),
    ) -> Mapping[str, NDArray[Any]]:
        """Fill `out` [V, *shape] with the views of one sample; return its cues, each [V, ...]."""
        ...


@runtime_checkable
class Mixes(Protocol):
    """A maker whose views have something of other samples in them.

    Behind the pieces of its own windows it is given one piece more for each of them: what another
    sample has there, or where that cannot be read its own again.
    """

    @property
    def mixes(self) -> bool:
        """Whether this one does."""
        ...

    def partners(self, index: int, epoch: int, samples: int) -> Sequence[int]:
        """Which sample each of V views is mixed with, of so many that there are."""
        ...


@runtime_checkable
class Finishes(Protocol):
    """A maker whose views are completed on the device, after the encoder's input is made."""

    def late(self, made: Tensor, cues: Mapping[str, Tensor]) -> Tensor:
        """[B, V, *shape of the input] of what the input made [B, V, ...], and of the cues."""
        ...


class Family(Protocol):
    """Turns one stream of a sample into `count` views for one encoder."""

    @property
    def of(self) -> str:
        """The stream that it takes."""
        ...

    @property
    def to(self) -> str:
        """The encoder that it is made for."""
        ...

    @property
    def count(self) -> int:
        """V."""
        ...

    @property
    def around(self) -> str:
        """Another family, around whose windows this one's are cut, or ""."""
        ...

    def maker(self, name: str, input: Input, grid: tuple[int, ...], *, seed: int) -> Maker:
        """What makes the views.

        Args:
            name: of the family; families of different names share no random numbers.
            input: what the encoder is fed.
            grid: the encoder's tokens.
            seed: of the run.
        """
        ...


def memory(size: int) -> NDArray[np.uint8]:
    """[size] uint8 for views, not yet written; in large pages where that pays."""
    asked = max(size, _LARGE_PAGES) if size > _LARGE_PAGES // 4 else size
    return np.empty(asked, np.uint8)[:size]
