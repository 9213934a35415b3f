"""Where images come from: a folder, a list of paths, IDX files, or the package itself.

No source knows labels.
"""

import hashlib
from functools import cached_property
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from PIL import Image

from manyviews.core import UsageError
from manyviews.data.idx import find_idx, read_idx
from manyviews.data.manifest import Manifest, of_folder, of_list
from manyviews.data.pack.read import Packed, is_pack
from manyviews.data.streams.image import SUFFIXES, Header, Pixels, read, read_header, suffixes

Split = Literal["train", "test"]

BUILTIN = "builtin:fashion"
"""The images that come with the package."""

FORMS = "a folder of images, a text file of paths, fashion-mnist:DIR, or builtin:fashion"
"""What `open_source` takes, for messages."""


class Source(Protocol):
    """Images by position, without labels. Picklable."""

    @property
    def spec(self) -> str:
        """What the user called it."""
        ...

    @property
    def channels(self) -> int:
        """Of every image that `read` returns."""
        ...

    @property
    def digest(self) -> str:
        """A hash that changes when the data does."""
        ...

    @property
    def array(self) -> Pixels | None:
        """[N, H, W, C] uint8 of all images where they are in memory anyway, else None."""
        ...

    def __len__(self) -> int: ...

    def read(self, index: int) -> Pixels:
        """[H, W, C] uint8. Raises `Unreadable`."""
        ...

    def header(self, index: int) -> Header:
        """Size and mode as stored, without decoding. Raises `Unreadable`."""
        ...

    def name(self, index: int) -> str:
        """A path, or for instance "builtin:fashion#12"."""
        ...

    def raw(self, index: int) -> bytes | None:
        """The file's bytes, or None where the source has no files. Raises OSError."""
        ...


class Files:
    """Image files on disk, decoded when they are read."""

    array: Pixels | None = None

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

    def read(self, index: int) -> Pixels:
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


class Stored:
    """Small images of one size, all in memory.

    Args:
        spec: what the user called it.
        array: [N, H, W, C] uint8.
        split: "test" shows in names.
    """

    def __init__(self, spec: str, array: Pixels, *, split: Split = "train") -> None:
        self.spec = spec
        self.array = array
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

    def read(self, index: int) -> Pixels:
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


def open_source(spec: str, *, channels: int, max_pixels: int, split: Split = "train") -> Source:
    """The images that a DATA argument names.

    Args:
        spec: a folder (searched recursively), a text file of paths, `fashion-mnist:DIR` or
            `builtin:fashion`. Folders count .npy arrays as images where channels is not 1 or 3;
            one that `manyviews pack` wrote is read as what was packed.
        channels: every image is brought to this many; see `decode.read`.
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
        if rest != "fashion":
            raise UsageError(f"There is no built-in data set {spec!r}. Use builtin:fashion.")
        return Stored(spec, _grey_to(_builtin(split), channels, spec), split=split)
    if colon and kind == "fashion-mnist":
        return Stored(spec, _grey_to(_idx_images(rest, split), channels, spec), split=split)
    folder = Path(spec).expanduser()
    if spec and is_pack(folder):
        return Packed(spec, folder, channels=channels, max_pixels=max_pixels)
    return Files(spec, _manifest(spec, channels), channels=channels, max_pixels=max_pixels)


def _manifest(spec: str, channels: int) -> Manifest:
    path = Path(spec).expanduser()
    if not spec:
        raise UsageError(f"The data has no name. Data is {FORMS}.")
    try:
        if path.is_dir():
            return of_folder(path, suffixes=suffixes(channels))
        there = path.is_file()
    except OSError as error:
        raise UsageError(f"Cannot open {spec!r}: {error.strerror}. Data is {FORMS}.") from None
    if not there:
        place = "" if path.is_absolute() else f" in {Path.cwd()}"
        raise UsageError(f"There is no file or folder {spec!r}{place}. Data is {FORMS}.")
    if path.suffix.lower() in SUFFIXES:
        raise UsageError(f"{spec} is one image. Data is {FORMS}.")
    return of_list(path)


def _builtin(split: Split) -> Pixels:
    with (
        as_file(files("manyviews.data") / "builtin" / f"fashion-{split}.png") as path,
        Image.open(path) as strip,
    ):
        return np.array(strip).reshape(-1, strip.width, strip.width)


def _idx_images(folder: str, split: Split) -> Pixels:
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


def _grey_to(images: Pixels, channels: int, spec: str) -> Pixels:
    if channels not in (1, 3):
        raise UsageError(
            f"{spec} has 1 channel, which --data.channels {channels} cannot use. Use 1 or 3."
        )
    return np.repeat(images[..., None], channels, axis=3)
