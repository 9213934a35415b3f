"""How a packed data set lies on disk: one folder of few large files.

    pack.json        what it is, and the checksums of the next two; there when all else is
    index.bin        an `ENTRY` for each image
    names.bin        the original paths, one after another, in UTF-8
    shard-00000.bin  the images, one after another: JPEG files, or rows of uint8 pixels

A pack may come from anywhere: its header is checked, and every place that its index points to.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyviews.core import UsageError
from manyviews.data.pack.codec import Format

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

_VERSION = 1


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


def read_index(folder: Path, about: PackHeader) -> tuple[Entries, NDArray[np.uint8]]:
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


def refuse_another(folder: Path, there: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse to go on with a pack of other data or other settings.

    Args:
        folder: that holds a pack, finished or begun.
        there: what it was begun with, a field of `Plan` or `VideoPlan` a name.
        wanted: what is asked for now.

    Raises:
        UsageError: they differ.
    """
    # what the data are called may change
    other = [name for name in wanted if name != "data" and there[name] != wanted[name]]
    if {"digest", "images"} & set(other):
        raise UsageError(
            f"{folder} holds a pack of other data, or the data have changed since. Choose another "
            "folder, or delete that one."
        )
    if other:
        was = ", ".join(f"{name} {there[name]}" for name in other)
        raise UsageError(
            f"{folder} holds a pack with {was}. Give the same settings, or choose another folder."
        )


def _outside(start: NDArray[Any], length: NDArray[Any], size: NDArray[Any] | int) -> bool:
    """Whether anything ends behind `size`; a sum of 64 bits would begin anew at 0."""
    sizes = np.broadcast_to(np.asarray(size, np.uint64), start.shape)
    return bool((length > sizes).any() or (start > sizes - np.minimum(length, sizes)).any())


def _damaged(folder: Path, file: str) -> UsageError:
    return UsageError(
        f"{folder / file} is missing or damaged, so that this pack cannot be used. Delete {folder} "
        "and pack the data again."
    )


def not_empty(folder: Path) -> UsageError:
    """What a folder is refused with that has something else in it."""
    return UsageError(f"{folder} is not empty. Give a new folder to pack into.")
