"""Images are decoded once: what a later epoch asks for again is kept, in memory or in a file.

Whoever decodes an image, in whichever process, keeps it: its pixels go to a place that its position
in the data set alone decides, and then a word of 64 bits, which is its height and width, says that
they are there. There is no lock, and nothing to repair: of a process that was killed there is
either a whole image or none, and two that keep the same image write the same bytes. Places are as
far apart as the largest image may be; memory and file are sparse, so what lies between costs
nothing. Both are without a name from the beginning, and go with the last process that uses them.

What is read is what was decoded, value for value, so all views are the same with and without. How
an image lies in its place is an `Arrangement`: whoever makes views has one that spares work later.
"""

import fcntl
import logging
import math
import mmap
import os
import secrets
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np

from manyviews.core.sample import WHOLE, Bytes, Source, Stream, Window
from manyviews.data.free_space import free_disk, free_memory
from manyviews.data.streams.image import Header

if TYPE_CHECKING:
    from manyviews.data.sources import ImageSource

log = logging.getLogger("manyviews")

_TOKEN, _ENDED, _WORDS = 0, 1, 2
"""Words before those of images: which store this is, and whether it takes no more."""

_SPREAD = 1 << 43
"""Bytes over which places are spread at most: files of ext4 have 2^44."""
_LARGEST = 1 << 28
"""Bytes of an image that is kept at most."""
_SLACK = 4
"""Times the largest image of a sample that a place has room for."""
_ALIGNED = 64
_BETWEEN = 32 << 20
"""Bytes that a process keeps before it looks again at what is free."""
_GB = 10**9


class Arrangement(Protocol):
    """How the pixels of an image lie in memory, as its size alone decides."""

    def size(self, shape: tuple[int, int, int]) -> int:
        """Bytes that an image [H, W, C] takes."""
        ...

    def lay(self, pixels: Bytes) -> Bytes:
        """[size] uint8 of [H, W, C] uint8."""
        ...

    def look(self, memory: Bytes, shape: tuple[int, int, int]) -> Bytes:
        """[H, W, C] uint8 in such memory, which is not copied."""
        ...


@dataclass(frozen=True)
class Rows:
    """As decoders leave them."""

    def size(self, shape: tuple[int, int, int]) -> int:
        """H W C."""
        return math.prod(shape)

    def lay(self, pixels: Bytes) -> Bytes:
        """The same bytes."""
        return np.ascontiguousarray(pixels).reshape(-1)

    def look(self, memory: Bytes, shape: tuple[int, int, int]) -> Bytes:
        """The same bytes."""
        return memory.reshape(shape)


ROWS = Rows()


@dataclass(frozen=True)
class Place:
    """Where a store is: enough for another process of this machine to join it.

    Attributes:
        process: that made it; 0 for no store.
        index, data: numbers of its open files.
        token: a random number at the beginning of the index.
        count: images in the data set.
        channels: of each.
        stride: bytes from one image's place to the next one's.
        budget: bytes that may be used.
        mapped: in memory, else in a file.
    """

    process: int
    index: int
    data: int
    token: int
    count: int
    channels: int
    stride: int
    budget: int
    mapped: bool


NOWHERE = Place(0, 0, 0, 0, 0, 0, 0, 0, mapped=False)


class Store:
    """Decoded images by position, shared by processes.

    Attributes:
        place: for others to join.
        how: images lie in it.
    """

    def __init__(self, place: Place, index: int, data: int, how: Arrangement) -> None:
        """Use open files.

        Raises:
            OSError: they cannot be mapped.
            ValueError: they are not those of `place`.
        """
        self.place = place
        self.how = how
        self._files = (index, data)
        size = 8 * (_WORDS + place.count)
        self._words = np.frombuffer(mmap.mmap(index, size), np.uint64)
        if int(self._words[_TOKEN]) != place.token:
            raise ValueError("another store, or none")
        self._map: mmap.mmap | None = None
        if place.mapped:
            with suppress(OSError, ValueError):  # addresses may be limited (ulimit -v)
                self._map = mmap.mmap(data, place.count * place.stride, access=mmap.ACCESS_READ)
        self._unseen = _BETWEEN

    def get(self, index: int) -> Bytes | None:
        """[H, W, C] uint8, read-only; None where it is not kept."""
        word = int(self._words[_WORDS + index])
        if not word:
            return None
        shape = (word >> 32, word & 0xFFFFFFFF, self.place.channels)
        size, start = self.how.size(shape), self._start(index)
        if self._map is not None:
            return self.how.look(np.frombuffer(self._map, np.uint8, size, start), shape)
        try:
            # Not mapped: a failing disk is then an error and not the end of the process.
            data = os.pread(self._files[1], size, start)
        except OSError:
            return None
        whole = len(data) == size
        return self.how.look(np.frombuffer(data, np.uint8), shape) if whole else None

    def put(self, index: int, pixels: Bytes) -> Bytes:
        """Keep [H, W, C] uint8 if there is room; where there is not, that is said once.

        Returns:
            the same values, laid as in the store where they were kept.
        """
        if self._words[_ENDED] or not self._fits(pixels):
            return pixels
        height, width, channels = pixels.shape
        shape = (height, width, channels)
        size = self.how.size(shape)
        if self.used + size > self.place.budget:
            self._end("")
            return pixels
        self._unseen += size
        if self._unseen >= _BETWEEN:
            self._unseen = 0
            if reason := self._short():
                self._end(reason)
                return pixels
        laid = self.how.lay(pixels)
        try:
            data, start = laid.data, self._start(index)
            while data:
                written = os.pwrite(self._files[1], data, start)
                data, start = data[written:], start + written
        except OSError as error:
            self._end(error.strerror or str(error))
            return pixels
        # One store of an aligned word, after the system call that wrote the pixels.
        self._words[_WORDS + index] = np.uint64(height << 32 | width)
        return self.how.look(laid, shape)

    @property
    def used(self) -> int:
        """Bytes that it takes up."""
        return os.fstat(self._files[1]).st_blocks * 512

    @property
    def kept(self) -> int:
        """How many images it has."""
        return int(np.count_nonzero(self._words[_WORDS:]))

    def close(self) -> None:
        """Let go of it in this process; arrays that were read stay."""
        self._map = None
        for file in self._files:
            os.close(file)

    def _start(self, index: int) -> int:
        return index * self.place.stride

    def _fits(self, pixels: Bytes) -> bool:
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or not pixels.size:
            return False
        height, width, channels = pixels.shape
        size = self.how.size((height, width, channels))
        return channels == self.place.channels and size <= self.place.stride

    def _short(self) -> str:
        """Why no more should be kept, for the sake of everything else on this machine."""
        if self.place.mapped:
            free, total = free_memory()
            return "memory is getting short" if free < total // 10 else ""
        free, total = free_disk(self._files[1])
        return "the disk is getting full" if free < min(total // 20, 10 * _GB) else ""

    def _end(self, reason: str) -> None:
        """Take no more, in all processes; one of them says why."""
        try:
            fcntl.lockf(self._files[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return  # another process is about to say it
        try:
            said = bool(self._words[_ENDED])
            self._words[_ENDED] = 1
        finally:
            fcntl.lockf(self._files[0], fcntl.LOCK_UN)
        if reason and not said:
            log.warning(
                "%s of %s decoded images are kept and no more: %s. Training goes on and decodes "
                "the others again; --data.store off keeps none.",
                f"{self.kept:,}", f"{self.place.count:,}", reason,
            )  # fmt: skip


def create(
    count: int,
    *,
    channels: int,
    largest: int,
    budget: int,
    folder: Path | None = None,
    how: Arrangement = ROWS,
) -> Store:
    """An empty store for a data set's images.

    Args:
        count: images in the data set.
        channels: of each.
        largest: bytes of the largest that is known, as it is to lie there.
        budget: bytes that it may take.
        folder: where its file lies, of which there is no name; None for memory.
        how: images are to lie in it.

    Raises:
        OSError: there cannot be one.
    """
    stride = min(_LARGEST, _SPREAD // count, -(-_SLACK * largest // _ALIGNED) * _ALIGNED)
    if stride < largest or not hasattr(os, "memfd_create"):
        raise OSError("images cannot be kept on this system")
    token = secrets.randbits(62) | 1
    index = os.memfd_create("manyviews-index")
    data = -1
    try:
        os.truncate(index, 8 * (_WORDS + count))
        os.pwrite(index, np.uint64(token).tobytes(), 8 * _TOKEN)
        data = os.memfd_create("manyviews-images") if folder is None else _nameless(folder)
        os.truncate(data, count * stride)  # where files cannot be sparse this fails
        place = Place(
            os.getpid(), index, data, token, count, channels, stride, budget,
            mapped=folder is None,
        )  # fmt: skip
        return Store(place, index, data, how)
    except BaseException:
        for file in (index, data):
            if file >= 0:
                os.close(file)
        raise


def _nameless(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.dup(file.fileno())


def join(place: Place, how: Arrangement) -> Store | None:
    """The store of another process of this user and machine; None if it cannot be reached."""
    files: list[int] = []
    try:
        folder = f"/proc/{place.process}/fd"
        files.append(os.open(f"{folder}/{place.index}", os.O_RDWR | os.O_CLOEXEC))
        files.append(os.open(f"{folder}/{place.data}", os.O_RDWR | os.O_CLOEXEC))
        return Store(place, files[0], files[1], how)
    except (OSError, ValueError):
        for file in files:
            os.close(file)
        return None


class Kept:
    """A source whose images are decoded once, as long as there is room.

    Attributes:
        inner: the source, which decodes.
        store: what is kept; None when it is closed, or cannot be reached.
    """

    streams: tuple[str, ...] = ("image",)
    stack: Mapping[str, Bytes] = {}

    def __init__(self, inner: Source, store: Store | None) -> None:
        self.inner = inner
        self.store = store

    @property
    def spec(self) -> str:
        """The inner source's."""
        return self.inner.spec

    @property
    def digest(self) -> str:
        """The inner source's."""
        return self.inner.digest

    @property
    def channels(self) -> int:
        """Of every image that is read."""
        return cast("ImageSource", self.inner).channels

    def __len__(self) -> int:
        return len(self.inner)

    def open(self, index: int) -> Mapping[str, Stream]:
        """{"image": the image, kept or not}."""
        return {"image": KeptImage(self, index)}

    def read(self, index: int) -> Bytes:
        """[H, W, C] uint8, not to be written to. Raises `Unreadable`."""
        found = None if self.store is None else self.store.get(index)
        if found is None:
            found = self.inner.open(index)["image"].read()
            if self.store is not None:
                found = self.store.put(index, found)
        return found

    def header(self, index: int) -> Header:
        """As stored in its file. Raises `Unreadable`."""
        return cast("ImageSource", self.inner).header(index)

    def name(self, index: int) -> str:
        """The inner source's."""
        return self.inner.name(index)

    def raw(self, index: int) -> bytes | None:
        """The file's bytes. Raises OSError."""
        return self.inner.raw(index)

    def close(self) -> None:
        """Decode everything again from now on."""
        store, self.store = self.store, None
        if store is not None:
            store.close()

    def __getstate__(self) -> tuple[Source, Place, Arrangement]:
        """For workers that are not forked: they join."""
        store = self.store
        return (
            (self.inner, NOWHERE, ROWS) if store is None else (self.inner, store.place, store.how)
        )

    def __setstate__(self, state: tuple[Source, Place, Arrangement]) -> None:
        self.inner, place, how = state
        self.store = join(place, how) if place.process else None


@dataclass(frozen=True)
class KeptImage:
    """An image as a stream, decoded or read from the store."""

    source: Kept
    index: int
    span: float = 0.0

    def read(self, window: Window = WHOLE) -> Bytes:
        """[H, W, C] uint8. Raises `Unreadable`."""
        del window
        return self.source.read(self.index)
