"""Writing the shards of a pack so that a kill at any moment costs a second of work and no more."""

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np

from manyviews.data.pack.layout import ENTRY, Entries, shard_name
from manyviews.data.quarantine import Bad, Quarantine

_SHARD = 1 << 30
"""Bytes after which the next shard begins."""
_SECONDS, _BYTES = 1.0, 64 << 20
"""At most this much work is lost by a kill: seconds of it, or bytes."""


@dataclass(frozen=True)
class Made:
    """One image on its way from a worker.

    Attributes:
        reason: why it cannot be read; the rest is then empty.
        data: its bytes in a shard.
        height, width: in pixels.
        sha256: of `data`.
    """

    reason: str = ""
    data: bytes = b""
    height: int = 0
    width: int = 0
    sha256: bytes = bytes(32)


class Writer:
    """Appends images to shards, and entries to the journal when the images are on the disk.

    An unreadable image has an entry of length 0, so that the journal's length says how far the
    work has come.

    Args:
        folder: of the pack.
        journal: open for reading and appending; what is in it is where the work goes on.
        quarantine: where unreadable images are written down.

    Attributes:
        count: images of the data that are dealt with, unreadable ones included.
    """

    def __init__(self, folder: Path, journal: BinaryIO, quarantine: Quarantine) -> None:
        self._folder = folder
        self._journal = journal
        entries = _intact(folder, journal)
        good = entries[entries["length"] > 0]
        self.count = len(entries)
        self._shard, self._end = 0, 0
        if len(good):
            self._shard, last = int(good[-1]["shard"]), good[-1]
            self._end = int(last["offset"] + last["length"])
        for later in folder.glob("shard-*.bin"):
            if later.name > shard_name(self._shard):
                later.unlink()
        self._quarantine = quarantine
        self._waiting: list[Entries] = []
        self._file = self._open()
        self._saved = time.monotonic()
        self._unsaved = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Keep what is done, also where the disk is full or someone pressed Ctrl-C."""
        try:
            self._save()
        except OSError:
            if kind is None:
                raise
        finally:
            with contextlib.suppress(OSError):
                self._file.close()

    def add(self, made: Made, name: str) -> None:
        """The next image of the data, and its name for the quarantine. Raises OSError."""
        entry = np.zeros(1, ENTRY)
        if made.reason:
            self._quarantine.add(Bad(name, made.reason))
        else:
            if self._end and self._end + len(made.data) > _SHARD:
                self._save()
                self._file.close()
                self._shard, self._end = self._shard + 1, 0
                self._file = self._open()
            self._file.write(made.data)
            entry["shard"], entry["offset"] = self._shard, self._end
            entry["height"], entry["width"] = made.height, made.width
            entry["length"] = len(made.data)
            entry["sha256"] = np.frombuffer(made.sha256, np.uint8)
            self._end += len(made.data)
            self._unsaved += len(made.data)
        self._waiting.append(entry)
        self.count += 1
        if self._unsaved > _BYTES or time.monotonic() - self._saved > _SECONDS:
            self._save()

    def _open(self) -> BinaryIO:
        """The shard being written, without what comes behind its last entry."""
        file = (self._folder / shard_name(self._shard)).open("ab")
        os.ftruncate(file.fileno(), self._end)
        return file

    def _save(self) -> None:
        if not self._waiting:
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        self._journal.write(np.concatenate(self._waiting).tobytes())
        self._journal.flush()
        os.fsync(self._journal.fileno())
        self._waiting.clear()
        self._saved, self._unsaved = time.monotonic(), 0


def _intact(folder: Path, journal: BinaryIO) -> Entries:
    """The entries whose bytes are there, and cut the journal behind them."""
    journal.seek(0)
    data = journal.read()
    entries = np.frombuffer(data[: len(data) // ENTRY.itemsize * ENTRY.itemsize], ENTRY)
    there = np.array(shards(folder) or [0], np.uint64)
    shard = np.minimum(entries["shard"], len(there) - 1)
    ends = np.where(entries["shard"] < len(there), entries["offset"] + entries["length"], 2**63)
    lost = np.flatnonzero(ends > there[shard])
    entries = entries[: lost[0]] if len(lost) else entries
    os.ftruncate(journal.fileno(), len(entries) * ENTRY.itemsize)
    return entries


def shards(folder: Path) -> list[int]:
    """Bytes of each shard."""
    sizes: list[int] = []
    while (path := folder / shard_name(len(sizes))).is_file():
        sizes.append(path.stat().st_size)
    return sizes
