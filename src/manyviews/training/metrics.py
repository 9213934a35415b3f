"""`metrics.jsonl`: one line per observation, whole or absent; and TensorBoard's files beside it."""

import errno
import importlib.util
import json
import logging
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

log = logging.getLogger("manyviews")

Value = float | int | str | Sequence[int]


class Metrics:
    """Append-only JSON lines. A failing disk delays lines, and never leaves half of one."""

    _MOST_WAITING = 100_000

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._end = os.lseek(self._file, 0, os.SEEK_END)
        self._waiting: list[bytes] = []
        self._failing = False

    def write(self, kind: str, values: Mapping[str, Value]) -> None:
        """Append one line; numbers that are not finite become null."""
        record: dict[str, Any] = {"kind": kind}
        for name, value in values.items():
            lost = isinstance(value, float) and not math.isfinite(value)
            record[name] = None if lost else value
        line = json.dumps(record, separators=(", ", ": ")) + "\n"
        self._waiting = [*self._waiting[-self._MOST_WAITING :], line.encode()]
        self._drain()

    def size(self) -> int:
        """Bytes written so far, after making them durable; lines on hold are not among them."""
        self._drain()
        try:
            os.fsync(self._file)
        except OSError as error:
            log.warning("Cannot sync %s: %s.", self._path, error.strerror)
        return self._end

    def cut(self, size: int) -> None:
        """Drop everything after the first `size` bytes, and any half line there."""
        size = min(size, self._end)
        head = self._path.read_bytes()[:size]
        self._end = head.rfind(b"\n") + 1
        os.ftruncate(self._file, self._end)

    def close(self) -> None:
        """Write what is on hold, if the disk lets us."""
        self._drain()
        os.close(self._file)

    def _drain(self) -> None:
        try:
            while self._waiting:
                line = self._waiting[0]
                if os.pwrite(self._file, line, self._end) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                self._end += len(line)
                self._waiting.pop(0)
        except OSError as error:
            os.ftruncate(self._file, self._end)
            if not self._failing:
                log.warning("Cannot write %s: %s. Training goes on.", self._path, error.strerror)
            self._failing = True
            return
        if self._failing:
            log.warning("Writing %s again.", self._path)
        self._failing = False


class Events:
    """TensorBoard event files, where TensorBoard is installed; nothing where it is not.

    A disk that fails ends them with a warning: `metrics.jsonl` has the same numbers.
    """

    def __init__(self, folder: Path, *, step: int) -> None:
        self._writer: Any = None
        if importlib.util.find_spec("tensorboard") is None:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from torch.utils.tensorboard import SummaryWriter

        try:
            self._writer = SummaryWriter(str(folder), purge_step=step)
        except OSError as error:
            log.warning("Cannot write %s: %s. No TensorBoard files.", folder, error.strerror)

    def write(self, kind: str, step: int, values: Mapping[str, Value]) -> None:
        """Add the numbers of one line."""
        if self._writer is None:
            return
        try:
            for name, value in values.items():
                if isinstance(value, float) and math.isfinite(value):
                    self._writer.add_scalar(f"{kind}/{name}", value, step)
        except OSError as error:
            log.warning("Cannot write TensorBoard files: %s. They end here.", error.strerror)
            self._writer = None

    def close(self) -> None:
        """Flush and close."""
        if self._writer is None:
            return
        try:
            self._writer.close()
        except OSError as error:
            log.warning("Cannot finish TensorBoard files: %s.", error.strerror)
