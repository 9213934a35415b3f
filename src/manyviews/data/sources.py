"""Where samples come from: a folder, a list of paths, IDX files, or the package itself.

No source knows labels.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib.resources import as_file, files
from math import inf
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from manyviews.core import UsageError
from manyviews.core.sample import WHOLE, Bytes, Source, Stream, Unreadable, Window
from manyviews.data.idx import find_idx, read_idx
from manyviews.data.manifest import File, Manifest, of_folder, of_frame_folders, of_list, of_names
from manyviews.data.pack.layout import is_pack
from manyviews.data.pack.read import Packed
from manyviews.data.streams.files import STREAMS, open_frames, open_streams
from manyviews.data.streams.image import SUFFIXES, Header, ImageFile, read, read_header, suffixes
from manyviews.data.table import is_table, read_table
from manyviews.data.there import FORMS, check_there

log = logging.getLogger("manyviews")

Split = Literal["train", "test"]

BUILTIN = "builtin:fashion"
"""The images that come with the package."""

BUILTINS = (BUILTIN, "builtin:fashion-tail")
"""The same, and 2,785 of the 12,000, of which few classes hold most: 1,122 to 11 images each."""

FRAMES = "frames"
"""What the name of data begins with whose videos are folders of pictures."""


class ImageSource(Source, Protocol):
    """Images by position. Picklable."""

    @property
    def channels(self) -> int:
        """Of every image that is read."""
        ...

    def read(self, index: int) -> Bytes:
        """[H, W, C] uint8 of the stream "image". Raises `Unreadable`."""
        ...

    def header(self, index: int) -> Header:
        """Size and mode as stored, without decoding. Raises `Unreadable`."""
        ...


@dataclass(frozen=True)
class Held:
    """An image that a source reads, as a stream."""

    source: ImageSource
    index: int
    span: float = 0.0

    def read(self, window: Window = WHOLE) -> Bytes:
        """[H, W, C] uint8. Raises `Unreadable`."""
        del window
        return self.source.read(self.index)


class Files:
    """Image files on disk, decoded when they are read."""

    streams: tuple[str, ...] = ("image",)
    stack: Mapping[str, Bytes] = {}

    def __init__(self, spec: str, manifest: Manifest, *, channels: int, max_pixels: int) -> None:
        self.spec = spec
        self.channels = channels
        self.manifest = manifest
        self._max_pixels = max_pixels

    @property
    def digest(self) -> str:
        """The manifest's: paths, sizes and modification times."""
        return self.manifest.digest

    def __len__(self) -> int:
        return len(self.manifest.files)

    def open(self, index: int) -> Mapping[str, Stream]:
        """{"image": the file}."""
        return {"image": ImageFile(self.name(index), self.channels, self._max_pixels)}

    def read(self, index: int) -> Bytes:
        """[H, W, C] uint8, upright. Raises `Unreadable`."""
        return read(self.name(index), channels=self.channels, max_pixels=self._max_pixels)

    def header(self, index: int) -> Header:
        """Size and mode as stored. Raises `Unreadable`."""
        return read_header(self.name(index), max_pixels=self._max_pixels)

    def name(self, index: int) -> str:
        """The file's path: as listed where absolute, else below the root."""
        return str(self.manifest.root / self.manifest.files[index].path)

    def raw(self, index: int) -> bytes | None:
        """The file's bytes. Raises OSError."""
        return Path(self.name(index)).read_bytes()


class Media:
    """Files of video, sound or points on disk, decoded by windows when they are read."""

    stack: Mapping[str, Any] = {}

    def __init__(
        self,
        spec: str,
        manifest: Manifest,
        streams: tuple[str, ...],
        *,
        opener: Callable[[str], Mapping[str, Stream]] = open_streams,
    ) -> None:
        self.spec = spec
        self.streams = streams
        self.manifest = manifest
        self._opener = opener

    @property
    def digest(self) -> str:
        """The manifest's: paths, sizes and modification times."""
        return self.manifest.digest

    def __len__(self) -> int:
        return len(self.manifest.files)

    def open(self, index: int) -> Mapping[str, Stream]:
        """The file's streams. Raises `Unreadable`, also where one is missing."""
        found = self._opener(self.name(index))
        for name in self.streams:
            if name not in found:
                raise Unreadable(self.name(index), f"has no {name}")
        return found

    def name(self, index: int) -> str:
        """The file's path: as listed where absolute, else below the root."""
        return str(self.manifest.root / self.manifest.files[index].path)

    def raw(self, index: int) -> bytes | None:
        """The file's bytes. Raises OSError."""
        return Path(self.name(index)).read_bytes()


class Stored:
    """Small images of one size, all in memory.

    Args:
        spec: what the user called it.
        array: [N, H, W, C] uint8.
        split: "test" shows in names.
    """

    streams: tuple[str, ...] = ("image",)

    def __init__(self, spec: str, array: Bytes, *, split: Split = "train") -> None:
        self.spec = spec
        self.array = array
        self.stack: Mapping[str, Bytes] = {"image": array}
        self.channels: int = array.shape[3]
        self._prefix = f"{spec}#" if split == "train" else f"{spec}#{split}/"

    @property
    def digest(self) -> str:
        """SHA-256 of the shape and all pixels."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        total = hashlib.sha256(repr(self.array.shape).encode())
        total.update(self.array.tobytes())
        return total.hexdigest()

    def __len__(self) -> int:
        return len(self.array)

    def open(self, index: int) -> Mapping[str, Stream]:
        """{"image": the row}."""
        return {"image": Held(self, index)}

    def read(self, index: int) -> Bytes:
        """[H, W, C] uint8."""
        return self.array[index]

    def header(self, index: int) -> Header:
        """The same for every image."""
        _, height, width, channels = self.array.shape
        return Header(width, height, {1: "L", 3: "RGB"}.get(channels, f"{channels}x8"), "array")

    def name(self, index: int) -> str:
        """The specification, a # and the position."""
        return f"{self._prefix}{index}"

    def raw(self, index: int) -> bytes | None:
        """None: there are no files."""
        return None


@dataclass(frozen=True)
class FrameFolders:
    """What `frames:DIR@RATE` says.

    Attributes:
        folder: DIR, below which every folder with pictures is a video.
        rate: pictures a second.
    """

    folder: Path
    rate: float

    @classmethod
    def of(cls, spec: str) -> "FrameFolders | None":
        """None for other data. Raises UsageError: no rate, or no such folder."""
        kind, colon, rest = spec.partition(":")
        if not colon or kind != FRAMES:
            return None
        where, _, rate = rest.rpartition("@")
        try:
            each = float(rate)
        except ValueError:
            each = 0.0
        if not where or not 0 < each < inf:
            raise UsageError(
                f"{spec!r} does not say how many frames there are a second. Write "
                f"frames:{where or rest}@25 for 25."
            )
        folder = Path(where).expanduser()
        if not folder.is_dir():
            raise UsageError(f"There is no folder {where!r}, whose folders would have frames.")
        return cls(folder, each)

    def opened(self, spec: str, manifest: Manifest, streams: Sequence[str]) -> Media:
        """Those of a manifest. Raises UsageError: something beside pictures is wanted of them."""
        if tuple(streams) != ("video",):
            raise UsageError(
                f"{spec} has frames alone, and {', '.join(streams)} is wanted. Give files."
            )
        opener = partial(open_frames, rate=self.rate)
        return Media(spec, manifest, ("video",), opener=opener)


def open_data(spec: str, streams: Sequence[str], *, channels: int, max_pixels: int) -> Source:
    """Samples with these streams: images as `open_source` opens them, or `Media`."""
    if tuple(streams) == ("image",):
        return open_source(spec, channels=channels, max_pixels=max_pixels)
    return open_media(spec, streams)


def open_media(spec: str, streams: Sequence[str]) -> Media:
    """The videos, sounds or clouds that a DATA argument names, without those that lack a stream.

    Args:
        spec: a folder (searched recursively), a text file of paths, a CSV with a column path, or
            `frames:DIR@RATE`: each folder below DIR that has pictures in it is a video of RATE of
            them a second.
        streams: "video", "audio" or both; or "points".

    Raises:
        UsageError: there is no such data, or nothing usable in it, or a package is missing.
    """
    if spec.partition(":")[0] in ("builtin", "fashion-mnist"):
        raise UsageError(f"{spec} has images alone, and {', '.join(streams)} is wanted.")
    frames = FrameFolders.of(spec)
    if frames is not None:
        return frames.opened(spec, of_frame_folders(frames.folder), streams)
    endings = media_suffixes(streams)
    manifest = _manifest(spec, endings)
    kept: list[File] = []
    for file in manifest.files:
        try:
            if not set(streams) <= set(open_streams(str(manifest.root / file.path))):
                continue
        except Unreadable:
            pass  # said when it is read
        kept.append(file)
    lacking = len(manifest.files) - len(kept)
    if not kept:
        raise UsageError(
            f"None of the {lacking:,} files of {spec} has all of {', '.join(streams)}. Give others."
        )
    if lacking:
        log.info("%s: %s files lack a stream and are left out", spec, f"{lacking:,}")
    return Media(spec, replace(manifest, files=tuple(kept)), tuple(streams))


def kind_of(spec: str) -> tuple[str, ...]:
    """The stream that most of the files have which a DATA argument names: images of a built-in set.

    Raises:
        UsageError: there is no such data, or none of its files is of a known kind.
    """
    if spec.partition(":")[0] in ("builtin", "fashion-mnist") or is_pack(Path(spec)):
        return Files.streams
    of = {e: f.has[0] for e, f in STREAMS.items()} | dict.fromkeys(SUFFIXES, Files.streams[0])
    of.pop(".npy", None)  # arrays are images, as far as a name tells
    manifest = _manifest(spec, frozenset(of) | {".npy"})
    endings = (Path(file.path).suffix.lower() for file in manifest.files)
    return (Counter(of.get(ending, "image") for ending in endings).most_common(1)[0][0],)


def media_suffixes(streams: Sequence[str]) -> frozenset[str]:
    """Endings of the names of files that may have all of these streams.

    Raises:
        UsageError: there is no such stream in files.
    """
    known = {name for form in STREAMS.values() for name in form.has}
    unknown = [name for name in streams if name not in known]
    if unknown:
        raise UsageError(
            f"There is no stream {unknown[0]!r} in files; there are image, "
            f"{', '.join(sorted(known))}. Set --views.*.of."
        )
    return frozenset(end for end, form in STREAMS.items() if set(streams) <= set(form.has))


def open_source(
    spec: str, *, channels: int, max_pixels: int, split: Split = "train"
) -> ImageSource:
    """The images that a DATA argument names.

    Args:
        spec: a folder (searched recursively), a text file of paths, a CSV with a column path,
            `fashion-mnist:DIR` or `builtin:fashion`. Folders count .npy arrays as images where
            channels is not 1 or 3; one that `manyviews pack` wrote is read as what was packed.
        channels: every image is brought to this many; see `data.streams.image.read`.
        max_pixels: larger images are unreadable, refused from their header.
        split: which part, where a source has two; a folder or a list is the same for both.

    Raises:
        UsageError: there is no such data, or nothing usable in it.
    """
    if channels < 1:
        raise UsageError(f"--data.channels {channels} is not a number of channels. Use 1 or more.")
    if max_pixels < 1:
        raise UsageError(
            f"--data.max-pixels {max_pixels} is not a number of pixels. Use 1 or more."
        )
    kind, colon, rest = spec.partition(":")
    if colon and kind == "builtin":
        if spec not in BUILTINS:
            raise UsageError(
                f"There is no built-in data set {spec!r}. Use {' or '.join(BUILTINS)}."
            )
        images, rows = _builtin(split), builtin_rows(spec, split)
        some = images if rows is None else images[rows]
        return Stored(spec, _grey_to(some, channels, spec), split=split)
    if colon and kind == "fashion-mnist":
        return Stored(spec, _grey_to(_idx_images(rest, split), channels, spec), split=split)
    if colon and kind == FRAMES:
        raise UsageError(f"{spec} is for recipes of videos. For their pictures, give the folder.")
    folder = Path(spec).expanduser()
    if spec and is_pack(folder):
        return Packed(spec, folder, channels=channels, max_pixels=max_pixels)
    return Files(
        spec, _manifest(spec, suffixes(channels)), channels=channels, max_pixels=max_pixels
    )


def _manifest(spec: str, endings: frozenset[str]) -> Manifest:
    check_there(spec)
    path = Path(spec).expanduser()
    if path.is_dir():
        return of_folder(path, suffixes=endings)
    if path.suffix.lower() in {*SUFFIXES, *STREAMS}:
        raise UsageError(f"{spec} is one sample. Data is {FORMS}.")
    return of_names(path, read_table(path).names) if is_table(path) else of_list(path)


def builtin_rows(spec: str, split: Split) -> NDArray[np.int64] | None:
    """[n] int64, which images of the whole a built-in data set has; None for all.

    The test part of each is whole.
    """
    if spec == BUILTIN or split == "test":
        return None
    with as_file(files("manyviews.data") / "builtin" / "fashion-tail.npy") as path:
        return np.load(path, allow_pickle=False).astype(np.int64)


def _builtin(split: Split) -> Bytes:
    with (
        as_file(files("manyviews.data") / "builtin" / f"fashion-{split}.png") as path,
        Image.open(path) as strip,
    ):
        return np.array(strip).reshape(-1, strip.width, strip.width)


def _idx_images(folder: str, split: Split) -> Bytes:
    if not folder:
        raise UsageError(
            "fashion-mnist: needs the folder of the IDX files, for instance "
            "fashion-mnist:/usr/share/datasets/fashion-mnist."
        )
    path = find_idx(Path(folder).expanduser(), split, "images")
    images = read_idx(path)
    if images.ndim != 3 or 0 in images.shape:
        wanted = "one or more images [N, H, W]"
        raise UsageError(f"{path} holds an array of shape {images.shape}, not {wanted}.")
    return images


def _grey_to(images: Bytes, channels: int, spec: str) -> Bytes:
    if channels not in (1, 3):
        raise UsageError(
            f"{spec} has 1 channel, which --data.channels {channels} cannot use. Use 1 or 3."
        )
    return np.repeat(images[..., None], channels, axis=3)
