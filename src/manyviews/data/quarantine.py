"""Files that could not be read: each is written down once, with its reason."""

import fcntl
import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path

_log = logging.getLogger("manyviews")


@dataclass(frozen=True)
class Bad:
    """An unreadable file: its name (a path) and a one-line reason."""

    path: str
    reason: str


def most_bad(share: float, count: int) -> int:
    """How many of `count` files may be unreadable: the share, but one at least unless it is 0.

    Never all of them: something has to stand in for those that cannot be read.
    """
    most = math.floor(share * count + 1e-9)  # 0.29 * 100 is a little less than 29
    return min(max(most, 1 if share > 0 else 0), max(count - 1, 0))


class Quarantine:
    """An append-only JSON-lines file of {"path", "reason"}, each path once.

    Ranks on one machine, and the parts of a resumed run, may share it: a lock is held while it
    is appended to, and lines that others wrote are read first.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, Bad] = {}
        self._end = 0
        if path.exists():
            with path.open("rb") as file:
                self._catch_up(file.read())

    def add(self, bad: Bad) -> int:
        """Write it down unless it is known; a disk that fails costs the line, never the training.

        Returns:
            How many distinct files are known now, from all ranks and earlier parts of the run.
        """
        if bad.path in self._known:
            return len(self._known)
        try:
            self._append(bad)
        except OSError as error:
            _log.warning("Cannot write %s: %s. Training goes on.", self.path, error.strerror)
        self._known.setdefault(bad.path, bad)
        return len(self._known)

    def entries(self) -> list[Bad]:
        """All known files, in the order in which they were found."""
        return list(self._known.values())

    def __len__(self) -> int:
        return len(self._known)

    def _append(self, bad: Bad) -> None:
        """Read what others wrote and add a line, under the lock."""
        with self.path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(self._end)
            self._catch_up(file.read())
            if bad.path not in self._known:
                line = json.dumps({"path": bad.path, "reason": bad.reason}).encode("ascii") + b"\n"
                file.seek(0, 2)
                if file.tell() != self._end:  # a line that a crash cut short
                    line = b"\n" + line
                file.write(line)
                file.flush()
                self._end = file.tell()

    def _catch_up(self, data: bytes) -> None:
        """Take in what was appended since the last look, as far as lines are whole."""
        whole = data[: data.rfind(b"\n") + 1]
        self._end += len(whole)
        for line in whole.splitlines():
            try:
                entry = json.loads(line)
                bad = Bad(str(entry["path"]), str(entry["reason"]))
            except (ValueError, KeyError, TypeError):
                continue  # what a crash left of a line; the file is found bad again
            self._known.setdefault(bad.path, bad)
