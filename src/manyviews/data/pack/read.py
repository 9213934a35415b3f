"""A packed data set, read: one folder of few large files, written once by `manyviews pack`.

Every image has a SHA-256 in the index: a byte that flipped or is missing makes that one image
unreadable, as a broken file would be. JPEG is checked whenever it is read, which costs little
beside decoding it; pixels when they are first read, by whichever of the worker processes does so.
What an image claims to be is checked before memory is taken for it. Index, names and arrays are
mapped into memory. Single images are read with `pread`: a failing disk is then an error and not the
end of the process, and no copy is saved by mapping what is decoded anyway.
"""

import hashlib
import mmap
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from manyviews.core import UsageError
from manyviews.core.sample import WHOLE, Bytes, Stream, Unreadable, Window
from manyviews.data.pack.codec import decode, fit
from manyviews.data.pack.layout import read_about, read_index, shard_name
from manyviews.data.streams.image import Header

_SMALL = 96
"""Arrays up to this side are used as one: larger images want worker processes."""
_WHOLE = 2 << 30
"""Bytes up to which an array is checked at once, in a second or two, and then used unchecked."""
_OPEN = 64
"""Shards that are kept open."""
_SPARE = 64 << 20
"""Bytes that a JPEG may have beyond those of its pixels: profiles, previews, texts."""


@dataclass(frozen=True)
class PackedImage:
    """An image of a pack as a stream."""

    pack: "Packed"
    index: int
    span: float = 0.0

    def read(self, window: Window = WHOLE) -> Bytes:
        """[H, W, C] uint8. Raises `Unreadable`."""
        del window
        return self.pack.read(self.index)


class Packed:
    """The images of a pack; names are the original paths.

    Args:
        spec: what the user called it.
        folder: where it lies.
        channels: every image is brought to so many: grey repeated to 3, RGB weighed to 1.
        max_pixels: larger images are unreadable.
        only: the paths below its root of the images to read, in this order; None reads all.

    Raises:
        UsageError: the header, the index or the names are damaged, or have other channels.
    """

    def __init__(
        self,
        spec: str,
        folder: Path,
        *,
        channels: int,
        max_pixels: int,
        only: Sequence[str] | None = None,
    ) -> None:
        self.spec = spec
        self.channels = channels
        self.folder = folder
        self.about = read_about(folder)
        there = self.about.plan.channels
        if channels != there and {channels, there} != {1, 3}:
            raise UsageError(
                f"{spec} was packed with {there} channels, which --data.channels {channels} "
                f"cannot use. Use --data.channels {there}."
            )
        self._max_pixels = max_pixels
        self._entries, self._names = read_index(folder, self.about)
        self._files: dict[int, int] = {}
        self._only = only
        if only is not None:
            place = {path: index for index, path in enumerate(self.paths())}
            self._entries = self._entries[[place[path] for path in only]]
        # Shared with the processes that are forked later; one byte an image, not 0 once it is good.
        self._good = mmap.mmap(-1, max(1, len(self._entries)))

    def __reduce__(self) -> tuple[Any, ...]:
        """Open it again where it is unpickled: neither maps nor open files travel."""
        return _open, (
            self.spec, self.folder, self.channels, self._max_pixels, self._only,
        )  # fmt: skip

    def __del__(self) -> None:
        self._close()

    @property
    def digest(self) -> str:
        """SHA-256 of names, sizes and contents, whatever shards they lie in."""
        if self._only is None:
            return self.about.digest
        chosen = "\0".join((self.about.digest, *self._only))
        return hashlib.sha256(os.fsencode(chosen)).hexdigest()

    streams: tuple[str, ...] = ("image",)

    @property
    def stack(self) -> Mapping[str, Bytes]:
        """{"image": [N, H, W, C] uint8}, mapped, where images are small, of one size and intact."""
        return {} if self._array is None else {"image": self._array}

    def open(self, index: int) -> Mapping[str, Stream]:
        """{"image": the entry}."""
        return {"image": PackedImage(self, index)}

    @cached_property
    def _array(self) -> Bytes | None:
        about, first = self.about, self._entries[0]
        height, width = int(first["height"]), int(first["width"])
        sides = self._entries[["height", "width"]]
        if (
            about.plan.format != "uint8"
            or about.plan.channels != self.channels
            or self._only is not None
            or len(about.shards) != 1
            or about.shards[0] > _WHOLE
            or max(height, width) > _SMALL
            or height * width > self._max_pixels
            or bool((sides != sides[0]).any())
            or not self._in_a_row(height * width * self.channels)
            or any(self._reason(index) for index in range(len(self)))
        ):
            return None
        shape = (about.count, height, width, about.plan.channels)
        return np.memmap(self.folder / shard_name(0), np.uint8, "r", shape=shape)

    def _in_a_row(self, size: int) -> bool:
        """Whether images of so many bytes lie one after another, as an array does."""
        wanted = np.arange(len(self), dtype=np.uint64) * np.uint64(size)
        return bool(
            (self._entries["offset"] == wanted).all() and (self._entries["length"] == size).all()
        )

    def __len__(self) -> int:
        return len(self._entries)

    def read(self, index: int) -> Bytes:
        """[H, W, C] uint8. Raises `Unreadable`."""
        header = self.header(index)
        try:
            data = self._checked(index)
            shape = (header.height, header.width, self.about.plan.channels)
            return fit(decode(data, self.about.plan.format, shape), self.channels)
        except (OSError, ValueError, RuntimeError) as error:
            raise Unreadable(self.name(index), _one_line(error)) from None

    def header(self, index: int) -> Header:
        """Size and mode in the pack. Raises `Unreadable`."""
        height, width = (int(self._entries[index][side]) for side in ("height", "width"))
        if height * width > self._max_pixels:
            reason = f"{width} x {height} is more than --data.max-pixels {self._max_pixels:,}"
            raise Unreadable(self.name(index), reason)
        channels = self.about.plan.channels
        mode = {1: "L", 3: "RGB"}.get(channels, f"{channels}x8")
        return Header(width, height, mode, "JPEG" if self.about.plan.format == "jpeg" else "array")

    def name(self, index: int) -> str:
        """The path of the image that was packed."""
        return (
            str(Path(self.about.root) / self.path(index)) if self.about.root else self.path(index)
        )

    def path(self, index: int) -> str:
        """Its path below the root of the data that was packed."""
        start, length = (int(self._entries[index][key]) for key in ("name_offset", "name_length"))
        return os.fsdecode(self._names[start : start + length].tobytes())

    def paths(self) -> list[str]:
        """Every image's path below that root."""
        return [self.path(index) for index in range(len(self))]

    def raw(self, index: int) -> bytes | None:
        """The JPEG file, or None for pixels. Raises OSError."""
        return bytes(self._bytes(index)) if self.about.plan.format == "jpeg" else None

    def _reason(self, index: int) -> str:
        """Why the bytes of an image cannot be had; "" if they can."""
        try:
            self._checked(index)
        except (OSError, ValueError) as error:
            return _one_line(error)
        return ""

    def _checked(self, index: int) -> bytearray:
        """The bytes of an image, which are those that were packed. Raises OSError, ValueError."""
        entry = self._entries[index]
        pixels = int(entry["height"]) * int(entry["width"]) * self.about.plan.channels
        raw, length = self.about.plan.format == "uint8", int(entry["length"])
        if length > pixels + _SPARE or (raw and length != pixels):
            raise ValueError(f"has {length:,} bytes for {pixels:,} values")
        data = self._bytes(index)
        if raw and len(data) == length and self._good[index]:
            return data
        if hashlib.sha256(data).digest() != entry["sha256"].tobytes():
            short = len(data) < length
            raise ValueError(
                f"{'cut short' if short else 'changed'} in {shard_name(int(entry['shard']))} at "
                f"byte {int(entry['offset']):,}"
            )
        self._good[index] = 1
        return data

    def _bytes(self, index: int) -> bytearray:
        entry = self._entries[index]
        data = bytearray(int(entry["length"]))
        got = os.preadv(self._file(int(entry["shard"])), [data], int(entry["offset"]))
        return data if got == len(data) else data[:got]

    def _file(self, shard: int) -> int:
        if shard not in self._files:
            if len(self._files) == _OPEN:
                self._close()
            self._files[shard] = os.open(
                self.folder / shard_name(shard), os.O_RDONLY | os.O_CLOEXEC
            )
        return self._files[shard]

    def _close(self) -> None:
        files = self.__dict__.get("_files", {})
        while files:
            os.close(files.popitem()[1])


def _open(
    spec: str, folder: Path, channels: int, max_pixels: int, only: Sequence[str] | None
) -> Packed:
    return Packed(spec, folder, channels=channels, max_pixels=max_pixels, only=only)


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
