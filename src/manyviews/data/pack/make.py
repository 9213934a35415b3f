"""`manyviews pack`: copy a data set once into few large files, resized, with checksums.

What is done is written down in order, an entry for each image of the data, after its bytes have
reached the disk. So a run that is killed, or whose disk fills, goes on behind the last entry; and
the header, without which a folder is no pack, is written last.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from manyviews.core import Failure, UsageError
from manyviews.core.files import atomic
from manyviews.core.progress import bar
from manyviews.core.sample import Bytes, Unreadable
from manyviews.data import workers as processes
from manyviews.data.pack.codec import Format, decode, encode
from manyviews.data.pack.layout import (
    BEGUN,
    ENTRY,
    HEADER,
    INDEX,
    NAMES,
    PackHeader,
    Plan,
    content_digest,
    not_empty,
    read_about,
    refuse_another,
)
from manyviews.data.pack.read import Packed
from manyviews.data.pack.write import Made, Writer, shards
from manyviews.data.quarantine import Quarantine
from manyviews.data.sources import Files, ImageSource, open_source
from manyviews.data.survey import survey

_JOURNAL, _QUARANTINE = "packing.bin", "quarantine.jsonl"


@dataclass(frozen=True, kw_only=True)
class PackReport:
    """What `pack` did.

    Attributes:
        path: the pack; a DATA for every verb.
        images: in it.
        unreadable: left out, and named in quarantine.jsonl beside it.
        continued: images, readable or not, that an earlier call had dealt with already.
        format: of the images in it.
        bytes: of all of them.
        seconds: that this call took.
        digest: changes when the images do.
    """

    path: Path
    images: int
    unreadable: int
    continued: int
    format: Format
    bytes: int
    seconds: float
    digest: str

    def lines(self) -> list[str]:
        """For people."""
        each = self.bytes / self.images / 1000
        said = [
            f"packed {self.images:,} images into {self.path}: {self.bytes / 1e6:,.1f} MB as "
            f"{self.format}, {each:,.1f} kB each, in {self.seconds:.0f} s"
        ]
        if self.continued:
            said.append(f"an earlier call had dealt with {self.continued:,} images already")
        if self.unreadable:
            where = self.path / _QUARANTINE
            said.append(f"{self.unreadable:,} unreadable images are left out; see {where}")
        return [*said, f"use it as data: manyviews train simclr --data {self.path}"]


def pack(
    data: str,
    out: str | Path,
    *,
    size: int = 256,
    format: Format = "jpeg",
    quality: int = 90,
    channels: int = 0,
    max_pixels: int = 200_000_000,
    workers: int = -1,
) -> PackReport:
    """Write all images of `data` into the folder `out`, which is then a DATA for every verb.

    Called again after it was interrupted it goes on where it stopped; when all is done already it
    does nothing.

    Args:
        data: a folder, a text file of paths, `fashion-mnist:DIR` or `builtin:fashion`.
        out: a new or empty folder, or one that an interrupted call left.
        size: the shorter side of larger images becomes so many pixels; none is enlarged.
        format: JPEG files, or uint8 pixels: 10 times as large, and nothing to decode.
        quality: of JPEG, 1 to 100. A JPEG that needs no resizing is kept as it is.
        channels: bring images to this many; 0 takes 1 if all sampled images are grey, else 3.
        max_pixels: larger images are refused from their header.
        workers: decoding processes; -1 takes a core each.

    Raises:
        UsageError: these settings cannot be, or `out` holds something else.
        Failure: no image can be read, or `out` cannot be written.
    """
    began = time.monotonic()
    _check(size, format, quality, channels, workers)
    source = _open(data, channels, max_pixels)
    if format == "jpeg" and source.channels not in (1, 3):
        raise UsageError(f"JPEG has no {source.channels} channels. Use --format uint8.")
    plan = Plan(
        data=data,
        digest=source.digest,
        images=len(source),
        size=size,
        format=format,
        quality=quality if format == "jpeg" else 0,
        channels=source.channels,
    )
    folder = Path(out).expanduser()
    continued = plan.images
    with _errors(folder), _begun(folder, plan) as journal:
        if journal is not None:
            writer = Writer(folder, journal, Quarantine(folder / _QUARANTINE))
            continued = writer.count
            with writer, bar("packing") as progress:
                for made in _made(source, plan, continued, workers):
                    writer.add(made, source.name(writer.count))
                    progress(writer.count, plan.images)
            _finish(folder, source, plan)
        about = read_about(folder)
    return PackReport(
        path=folder,
        images=about.count,
        unreadable=plan.images - about.count,
        continued=continued,
        format=format,
        bytes=sum(about.shards),
        seconds=time.monotonic() - began,
        digest=about.digest,
    )


def _check(size: int, format: Format, quality: int, channels: int, workers: int) -> None:
    if format not in ("jpeg", "uint8"):
        raise UsageError(f"--format is '{format}'; wanted jpeg or uint8.")
    if size < 1:
        raise UsageError(f"--size {size} is no number of pixels. Use 1 or more, for instance 256.")
    if not 1 <= quality <= 100:
        raise UsageError(f"--quality {quality} is not from 1 to 100. Use 90 for photographs.")
    if channels < 0:
        raise UsageError(f"--channels {channels} is not a number of channels. Use 0 to choose.")
    if workers < -1:
        raise UsageError(f"--workers {workers} is not a number of processes. Use -1 to choose.")


def _open(data: str, channels: int, max_pixels: int) -> ImageSource:
    source = open_source(data, channels=channels or 3, max_pixels=max_pixels)
    if channels or survey(source).channels == source.channels:
        return source
    return open_source(data, channels=1, max_pixels=max_pixels)


@contextlib.contextmanager
def _begun(folder: Path, plan: Plan) -> Generator[BinaryIO | None]:
    """The journal of a folder that is ours and locked, or None where all is done already."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / HEADER).is_file():
        refuse_another(folder, asdict(read_about(folder).plan), asdict(plan))
        _sweep(folder)
        yield None
        return
    if (folder / BEGUN).is_file():
        refuse_another(folder, asdict(_read_plan(folder)), asdict(plan))
    elif set(folder.iterdir()) - set(_leftovers(folder)):
        raise not_empty(folder)
    else:
        with atomic(folder / BEGUN) as temporary:
            temporary.write_text(json.dumps(asdict(plan)), encoding="utf-8")
    with (folder / _JOURNAL).open("a+b") as journal:
        try:
            fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failure(
                f"Another process is packing into {folder}. Wait for it, or choose another folder."
            ) from None
        yield journal


def _leftovers(folder: Path) -> list[Path]:
    """Files that a kill left half written."""
    return [
        path for name in (BEGUN, INDEX, NAMES, HEADER) for path in folder.glob(f".{name}.*.tmp")
    ]


def _sweep(folder: Path) -> None:
    """Remove what a finished pack does not need."""
    for path in (folder / BEGUN, folder / _JOURNAL, *_leftovers(folder)):
        path.unlink(missing_ok=True)


def _read_plan(folder: Path) -> Plan:
    try:
        return Plan(**json.loads((folder / BEGUN).read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        raise UsageError(
            f"{folder / BEGUN} is damaged, so that this pack cannot go on. Delete {folder} and "
            "pack the data again."
        ) from None


@contextlib.contextmanager
def _errors(folder: Path) -> Generator[None]:
    """A disk that fails is one line that says how to go on."""
    try:
        yield
    except OSError as error:
        raise Failure(
            f"Cannot write to {folder}: {error.strerror or error}. Make room and give the same "
            "command again: it goes on where it stopped."
        ) from error


def _made(source: ImageSource, plan: Plan, start: int, workers: int) -> Iterator[Made]:
    """The images of the data from one on, in order, made by as many workers as there are cores."""
    if workers < 0:
        # The main process only writes, so that no core is kept free for it.
        workers = 0 if bool(source.stack) else min(processes.cores(), processes.MOST)
    return processes.each(partial(_make, source, plan), range(start, plan.images), workers=workers)


def _make(source: ImageSource, plan: Plan, index: int) -> Made:
    """Runs in workers."""
    try:
        image = source.read(index)
    except Unreadable as error:
        return Made(reason=error.reason)
    small = shrink(image, plan.size)
    data = _as_it_is(source, index, small) if small is image and plan.format == "jpeg" else None
    if data is None:
        data = encode(small, plan.format, plan.quality)
    height, width, _ = small.shape
    return Made("", data, height, width, hashlib.sha256(data).digest())


def _as_it_is(source: ImageSource, index: int, image: Bytes) -> bytes | None:
    """The file, if it is a JPEG that a pack decodes to these very pixels."""
    try:
        data = source.raw(index)
        if data is None or not data.startswith(b"\xff\xd8"):
            return None
        return data if np.array_equal(decode(data, "jpeg", image.shape), image) else None
    except (OSError, ValueError, RuntimeError):
        return None


def shrink(image: Bytes, size: int) -> Bytes:
    """The image with its shorter side brought to `size` pixels, antialiased; never enlarged.

    Pillow's bicubic filter, whose support grows with the scale.
    """
    height, width = image.shape[:2]
    short = min(height, width)
    if short <= size:
        return image
    to = (max(1, round(width * size / short)), max(1, round(height * size / short)))
    if image.shape[2] == 3:
        return np.asarray(Image.fromarray(image).resize(to, Image.Resampling.BICUBIC))
    bands = [
        np.asarray(Image.fromarray(band).resize(to, Image.Resampling.BICUBIC))
        for band in np.ascontiguousarray(image.transpose(2, 0, 1))
    ]
    return np.stack(bands, axis=2)


def _finish(folder: Path, source: ImageSource, plan: Plan) -> None:
    """Index, names and, when they are there, the header."""
    entries = np.fromfile(folder / _JOURNAL, ENTRY)
    good = np.flatnonzero(entries["length"])
    if not len(good):
        raise Failure(
            f"None of the {plan.images:,} images in {plan.data} can be read. Run `manyviews doctor "
            f"{plan.data}`."
        )
    root = str(source.manifest.root) if isinstance(source, Files) else ""
    entries, names, end = entries[good], list[bytes](), 0
    for entry, index in zip(entries, good.tolist(), strict=True):
        name = os.fsencode(_path(source, index))
        entry["name_offset"], entry["name_length"] = end, len(name)
        names.append(name)
        end += len(name)
    joined, index = b"".join(names), entries.tobytes()
    about = PackHeader(
        plan=plan,
        root=root,
        count=len(entries),
        shards=tuple(shards(folder)),
        index_sha256=hashlib.sha256(index).hexdigest(),
        names_sha256=hashlib.sha256(joined).hexdigest(),
        digest=content_digest(entries, joined, channels=plan.channels, format=plan.format),
    )
    for file, data in ((INDEX, index), (NAMES, joined), (HEADER, about.to_json().encode())):
        with atomic(folder / file) as temporary:
            temporary.write_bytes(data)
    _sweep(folder)


def _path(source: ImageSource, index: int) -> str:
    if isinstance(source, Files):
        return source.manifest.files[index].path
    return source.path(index) if isinstance(source, Packed) else source.name(index)
