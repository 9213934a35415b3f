"""A packed data set: one folder of few large files, written once by `manyviews pack`.

    pack.json        what it is, and the checksums of the next two; there when all else is
    index.bin        an `ENTRY` for each image
    names.bin        the original paths, one after another, in UTF-8
    shard-00000.bin  the images, one after another: JPEG files, or rows of uint8 pixels

Every image has a SHA-256 in the index: a byte that flipped or is missing makes that one image
unreadable, as a broken file would be. JPEG is checked whenever it is read, which costs little
beside decoding it; pixels when they are first read, by whichever of the worker processes does so. A
pack may come from anywhere: where the index points to and what an image claims to be is checked
before memory is taken for it. Index, names and arrays are mapped into memory. Single images are
read with `pread`: a failing disk is then an error and not the end of the process, and no copy is
saved by mapping what is decoded anyway.
"""

import hashlib
import io
import json
import mmap
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from manyviews.core import UsageError
from manyviews.core.sample import WHOLE, Bytes, Stream, Unreadable, Window
from manyviews.data.streams.image import Header
from manyviews.data.streams.jpeg import decode_jpeg

HEADER, INDEX, NAMES = "pack.json", "index.bin", "names.bin"
BEGUN = "packing.json"
"""There while a pack is not finished."""

ENTRY = np.dtype(
    [
        ("shard", "<u4"),
        ("height", "<u4"),
        ("width", "<u4"),
        ("name_length", "<u4"),
        ("name_offset", "<u8"),
        ("offset", "<u8"),
        ("length", "<u8"),
        ("sha256", "u1", (32,)),
    ]
)
"""Where an image lies, how large it is in pixels and in bytes, and what its bytes hash to."""

Entries = NDArray[np.void]
Format = Literal["jpeg", "uint8"]

_VERSION = 1
_SMALL = 96
"""Arrays up to this side are used as one: larger images want worker processes."""
_WHOLE = 2 << 30
"""Bytes up to which an array is checked at once, in a second or two, and then used unchecked."""
_OPEN = 64
"""Shards that are kept open."""
_SPARE = 64 << 20
"""Bytes that a JPEG may have beyond those of its pixels: profiles, previews, texts."""
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of a JPEG's frame header, which says its size."""
_ALONE = frozenset((0x01, *range(0xD0, 0xD9)))
"""Markers without a segment behind them."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is packed, and how; two packs of equal plans are equal.

    Attributes:
        data: what was packed, as the user called it.
        digest: of that data.
        images: in it, by name; a pack may hold fewer.
        size: the shorter side of larger images is brought to this many pixels.
        format: of the images in the shards.
        quality: of JPEG; 0 for pixels.
        channels: of every image.
    """

    data: str = field(compare=False)
    digest: str
    images: int
    size: int
    format: Format
    quality: int
    channels: int


@dataclass(frozen=True, kw_only=True)
class PackHeader:
    """The header of a pack.

    Attributes:
        plan: what was packed, and how.
        root: what names are relative to; "" where they are not paths.
        count: images.
        shards: bytes of each.
        index_sha256, names_sha256: of those files.
        digest: of everything that decides what is read: names, sizes and contents.
    """

    plan: Plan
    root: str
    count: int
    shards: tuple[int, ...]
    index_sha256: str
    names_sha256: str
    digest: str

    def to_json(self) -> str:
        """The text of pack.json."""
        return json.dumps({"manyviews": "pack", "version": _VERSION, **asdict(self)}, indent=1)


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
        self._entries, self._names = _index(folder, self.about)
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


def shard_name(number: int) -> str:
    """The name of a shard's file."""
    return f"shard-{number:05d}.bin"


def is_pack(folder: Path) -> bool:
    """Whether a folder is a pack, finished or not; False for what is no path at all."""
    return any(os.path.isfile(folder / file) for file in (HEADER, BEGUN))  # noqa: PTH113 - never raises


def read_about(folder: Path) -> PackHeader:
    """The header of a pack.

    Raises:
        UsageError: the pack is not finished, or its header cannot be used.
    """
    if not (folder / HEADER).is_file():
        raise UsageError(
            f"{folder} is a pack that was not finished. Run the same `manyviews pack ... "
            f"{folder}` again: it goes on where it stopped."
        )
    try:
        said: dict[str, Any] = json.loads((folder / HEADER).read_text(encoding="utf-8"))
        kind, version = said.pop("manyviews"), said.pop("version")
        plan = Plan(**said.pop("plan"))
        sizes = tuple(int(size) for size in said.pop("shards"))
        about = PackHeader(plan=plan, shards=sizes, **said)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise _damaged(folder, HEADER) from None
    if kind != "pack" or version != _VERSION or plan.format not in ("jpeg", "uint8"):
        raise UsageError(
            f"{folder} is a pack of another version ({version}) than this manyviews reads "
            f"({_VERSION}). Pack the data again."
        )
    if min(about.count, plan.channels, len(about.shards)) < 1 or min(about.shards) < 0:
        raise _damaged(folder, HEADER)
    return about


def content_digest(entries: Entries, names: bytes, *, channels: int, format: Format) -> str:
    """SHA-256 of what a pack's images are, wherever they lie."""
    total = hashlib.sha256(f"{format} {channels} {len(entries)} ".encode())
    for key in ("height", "width", "name_length", "sha256"):
        total.update(np.ascontiguousarray(entries[key]).tobytes())
    total.update(names)
    return total.hexdigest()


def decode(data: bytes | bytearray, format: Format, shape: tuple[int, int, int]) -> Bytes:
    """[H, W, C] uint8 of an image's bytes in a shard. Pixels take over the memory of a bytearray.

    Raises:
        ValueError, RuntimeError: they are not of an image of that shape.
    """
    # torch and numpy warn of memory that they must not write to
    kept = data if isinstance(data, bytearray) else bytearray(data)
    if format == "uint8":
        return np.frombuffer(kept, np.uint8).reshape(shape)
    said = jpeg_size(kept)
    if said != shape[:2]:
        raise ValueError(f"says that it is {said}, not {shape[:2]} as the index has it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision says at every call that it will move
        pixels = decode_jpeg(kept)
    if pixels.shape != shape:
        raise ValueError(f"is {pixels.shape}, not {shape} as the index has it")
    return np.ascontiguousarray(pixels)


def jpeg_size(data: bytes | bytearray) -> tuple[int, int]:
    """Height and width that a JPEG claims to have, from its first frame header; nothing is decoded.

    Markers are looked for as libjpeg does: what stands between segments is passed over.

    Raises:
        ValueError: there is no frame header.
    """
    at = 2
    while 0 <= (at := data.find(b"\xff", at)) < len(data) - 8:
        marker = data[at + 1]
        if marker in (0x00, 0xFF):  # no marker, and one byte to fill up
            at += 2 if marker == 0x00 else 1
        elif marker in _ALONE:
            at += 2
        elif marker in _FRAMES:
            return int.from_bytes(data[at + 5 : at + 7]), int.from_bytes(data[at + 7 : at + 9])
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4])
    raise ValueError("is no JPEG: it has no frame header")


def encode(pixels: Bytes, format: Format, quality: int) -> bytes:
    """The bytes of [H, W, C] uint8 in a shard."""
    if format == "uint8":
        return pixels.tobytes()
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(
        file, "JPEG", quality=quality
    )
    return file.getvalue()


def fit(pixels: Bytes, channels: int) -> Bytes:
    """Grey repeated to 3 channels, RGB weighed to 1 (ITU-R 601 luma), or as it is."""
    if channels == pixels.shape[2]:
        return pixels
    if channels == 1:
        return np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
    return np.repeat(pixels, channels, axis=2)


def _open(
    spec: str, folder: Path, channels: int, max_pixels: int, only: Sequence[str] | None
) -> Packed:
    return Packed(spec, folder, channels=channels, max_pixels=max_pixels, only=only)


def _index(folder: Path, about: PackHeader) -> tuple[Entries, NDArray[np.uint8]]:
    """Index and names, mapped, after their checksums and every place they point to are checked."""
    found: dict[str, NDArray[np.uint8]] = {}
    wanted: Mapping[str, str] = {INDEX: about.index_sha256, NAMES: about.names_sha256}
    for file, sha256 in wanted.items():
        try:
            found[file] = np.memmap(folder / file, np.uint8, "r")
        except (OSError, ValueError):  # missing, or empty
            raise _damaged(folder, file) from None
        if hashlib.sha256(found[file].data).hexdigest() != sha256:
            raise _damaged(folder, file)
    if found[INDEX].size != about.count * ENTRY.itemsize:
        raise _damaged(folder, INDEX)
    entries: Entries = found[INDEX].view(ENTRY)
    sizes = np.array(about.shards, np.uint64)
    if (
        int(entries["shard"].max()) >= len(sizes)
        or _outside(entries["offset"], entries["length"], sizes[entries["shard"]])
        or _outside(entries["name_offset"], entries["name_length"], found[NAMES].size)
        or int(min(entries["height"].min(), entries["width"].min())) < 1
    ):
        raise _damaged(folder, INDEX)
    return entries, found[NAMES]


def _outside(start: NDArray[Any], length: NDArray[Any], size: NDArray[Any] | int) -> bool:
    """Whether anything ends behind `size`; a sum of 64 bits would begin anew at 0."""
    sizes = np.broadcast_to(np.asarray(size, np.uint64), start.shape)
    return bool((length > sizes).any() or (start > sizes - np.minimum(length, sizes)).any())


def _damaged(folder: Path, file: str) -> UsageError:
    return UsageError(
        f"{folder / file} is missing or damaged, so that this pack cannot be used. Delete {folder} "
        "and pack the data again."
    )


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
