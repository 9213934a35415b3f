"""Which files a data set consists of, found the same way every time, and a hash of that."""

import hashlib
import json
import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from manyviews.core import UsageError
from manyviews.data.streams.image import SUFFIXES

_SKIPPED = frozenset(("__MACOSX", "@eaDir", "$RECYCLE.BIN"))


@dataclass(frozen=True)
class File:
    """One file: path as listed (relative to the manifest's root, or absolute), bytes, mtime in ns.

    A file that was listed and is not there has size and mtime -1.
    """

    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Manifest:
    """The files of a data set, in the order that indices count.

    Attributes:
        root: what relative paths are relative to.
        files: for a folder sorted by the bytes of their paths, for a list in its order.
        ignored: file-name ending -> how many files a folder held that are not images by name.
    """

    root: Path
    files: tuple[File, ...]
    ignored: Mapping[str, int]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of every path, size and mtime: changes whenever a file does."""
        total = hashlib.sha256()
        for file in self.files:
            total.update(os.fsencode(file.path))
            total.update(f"\0{file.size}\0{file.mtime_ns}\0".encode())
        return total.hexdigest()

    def write(self, path: Path) -> None:
        """Save as JSON lines: one object of path, size and mtime_ns for each file."""
        with path.open("w", encoding="ascii") as out:
            out.writelines(json.dumps(vars(file)) + "\n" for file in self.files)


def of_folder(folder: Path, *, suffixes: frozenset[str] = SUFFIXES) -> Manifest:
    """All images under a folder, found recursively by their file-name endings.

    Hidden files and folders and thumbnail stores are passed over. A link to a folder is followed
    once, and not at all where it leads to a folder that is searched anyway.

    Raises:
        UsageError: a folder that may not be listed, or one without images.
    """
    files: list[File] = []
    ignored: Counter[str] = Counter()
    for entry in _walk(folder):
        ending = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - Path costs ten times as much
        if ending not in suffixes:
            ignored[ending or "(none)"] += 1
            continue
        relative = entry.path.removeprefix(str(folder)).lstrip(os.sep)
        try:
            info = entry.stat()
            if stat.S_ISREG(info.st_mode):
                files.append(File(relative, info.st_size, info.st_mtime_ns))
        except OSError:  # a dangling link: a listed image that is not there
            files.append(File(relative, -1, -1))
    if not files:
        raise UsageError(_nothing(folder, ignored, suffixes))
    files.sort(key=lambda file: os.fsencode(file.path))
    return Manifest(folder, tuple(files), dict(ignored))


def of_frame_folders(root: Path) -> Manifest:
    """All folders below `root` that have pictures in them; the size of one is that of all of those.

    Raises:
        UsageError: as `of_folder`; pictures that lie in no folder of their own.
    """
    pictures = of_folder(root)
    found: dict[str, list[File]] = {}
    for file in pictures.files:
        found.setdefault(os.path.dirname(file.path), []).append(file)  # noqa: PTH120 - Path costs ten times as much
    if "" in found:
        raise UsageError(
            f"{root} has {len(found['']):,} pictures that are in no folder of their own. Give the "
            "folder above, whose folders are a video each."
        )
    folders = [
        File(path, sum(file.size for file in files), max(file.mtime_ns for file in files))
        for path, files in found.items()
    ]
    folders.sort(key=lambda file: os.fsencode(file.path))
    return Manifest(root, tuple(folders), pictures.ignored)


def of_list(path: Path) -> Manifest:
    """The files that a text file names, one a line; relative paths start at its own folder.

    Blank lines and lines that begin with # are skipped.

    Raises:
        UsageError: not a text file, no paths in it, or none of them leads to a file.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"Cannot read the list {path}: {error.strerror}.") from None
    if b"\0" in data:
        raise UsageError(
            f"{path} is not a text file. Give a folder of images, or a text file with one path "
            "a line."
        )
    lines = (line.strip() for line in data.removeprefix(b"\xef\xbb\xbf").splitlines())
    names = [os.fsdecode(line) for line in lines if line and not line.startswith(b"#")]
    if not names:
        raise UsageError(f"The list {path} names no file. Write one path a line into it.")
    return of_names(path, names)


def of_names(path: Path, names: Sequence[str]) -> Manifest:
    """These files, as `path` lists them; relative paths start at its folder.

    Raises:
        UsageError: none of them leads to a file.
    """
    files = tuple(_stat(path.parent, name) for name in names)
    if all(file.size < 0 for file in files):
        raise UsageError(
            f"None of the {len(files):,} paths in {path} leads to a file; the first is "
            f"{names[0]!r}. Paths are absolute, or relative to {path.parent.resolve()}."
        )
    return Manifest(path.parent, files, {})


def _stat(root: Path, name: str) -> File:
    try:
        info = (root / name).stat()
    except OSError:
        return File(name, -1, -1)
    if not stat.S_ISREG(info.st_mode):
        return File(name, -1, -1)
    return File(name, info.st_size, info.st_mtime_ns)


def _walk(root: Path) -> Iterator[os.DirEntry[str]]:
    """Every file that is not hidden; links to folders last, each real folder once."""
    seen: set[tuple[int, int]] = set()
    folders, links = [str(root)], list[str]()
    while folders or links:
        if not folders:
            links.sort(key=os.fsencode, reverse=True)
        folder = folders.pop() if folders else links.pop()
        try:
            info = Path(folder).stat()
            if (info.st_dev, info.st_ino) in seen:
                continue
            seen.add((info.st_dev, info.st_ino))
            with os.scandir(folder) as listing:
                entries = list(listing)
        except OSError as error:
            raise UsageError(
                f"Cannot list the folder {folder}: {error.strerror}. Make it readable or move "
                "it away."
            ) from None
        for entry in entries:
            if entry.name.startswith(".") or entry.name in _SKIPPED:
                continue
            if not _is_folder(entry):
                yield entry
            else:
                (links if entry.is_symlink() else folders).append(entry.path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _nothing(folder: Path, ignored: Mapping[str, int], suffixes: frozenset[str]) -> str:
    wanted = ", ".join(sorted(suffixes))
    if not ignored:
        return f"The folder {folder} has no files. Images wanted, searched recursively: {wanted}."
    found = sorted(ignored.items(), key=lambda item: (-item[1], item[0]))
    some = ", ".join(f"{count:,} {ending}" for ending, count in found[:5])
    arrays = ".npy" in ignored and ".npy" not in suffixes
    hint = " Arrays (.npy) want --data.channels other than 1 and 3." if arrays else ""
    return (
        f"The folder {folder} has no images, but {sum(ignored.values()):,} other files ({some}). "
        f"Images wanted, searched recursively: {wanted}.{hint}"
    )
