"""The run directory: locked by one process, logged into even when the disk fails now and then."""

import fcntl
import logging
import os
import weakref
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from manyviews.core import Failure, comm
from manyviews.runs.folder.paths import Paths
from manyviews.training.metrics import Metrics, Value

log = logging.getLogger("manyviews")


class RunDirectory:
    """One run's folder. As a context manager it is locked, and `log.txt` receives messages.

    Only rank 0 locks and writes.

    Attributes:
        path: the folder.
        checkpoints: where checkpoints lie in it.

    Raises:
        Failure: on entering, another process holds the folder or it cannot be written.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._paths = Paths(self.path)
        self.checkpoints = self._paths.checkpoints
        self._lock: int | None = None
        self._metrics: Metrics | None = None
        self._log: logging.Handler | None = None

    def __enter__(self) -> Self:
        if comm.rank() > 0:
            return self
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            self._take_lock()
            self._metrics = Metrics(self._paths.metrics)
            self._log = _LogFile(self._paths.log)
        except OSError as error:
            self._release()
            raise Failure(
                f"Cannot write to {self.path}: {error.strerror}. Give a writable --out."
            ) from error
        log.addHandler(self._log)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._release()

    def metrics(self, kind: str, values: Mapping[str, Value]) -> None:
        """Append a line to `metrics.jsonl`; nothing on ranks other than 0."""
        if self._metrics is not None:
            self._metrics.write(kind, values)

    def metrics_size(self) -> int:
        """Bytes of `metrics.jsonl`, on disk."""
        return self._metrics.size() if self._metrics is not None else 0

    def cut_metrics(self, size: int) -> None:
        """Drop what was logged after a checkpoint, since those steps will be done again."""
        if self._metrics is not None:
            self._metrics.cut(size)

    def _take_lock(self) -> None:
        number = os.open(self._paths.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(number, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(number)
            raise Failure(
                f"{self.path} is in use by process {holder}. Wait for it, stop it, or give "
                "another --out."
            ) from None
        except OSError as error:  # a file system without locks
            log.warning("Cannot lock %s: %s. Start no second run there.", self.path, error.strerror)
        os.ftruncate(number, 0)
        os.pwrite(number, f"{os.getpid()}\n".encode(), 0)
        self._lock = number
        # A forked data worker must not hold the lock on when this process is killed.
        me = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _let_go(me()))

    def _release(self) -> None:
        if self._log is not None:
            log.removeHandler(self._log)
            self._log.close()
        if self._metrics is not None:
            self._metrics.close()
        if self._lock is not None:
            os.close(self._lock)
        self._log = self._metrics = self._lock = None


def _let_go(directory: RunDirectory | None) -> None:
    """In a forked child: close its copy of the lock, which the parent keeps."""
    if directory is not None and directory._lock is not None:  # pyright: ignore[reportPrivateUsage] - its own file
        os.close(directory._lock)  # pyright: ignore[reportPrivateUsage] - its own file
        directory._lock = None  # pyright: ignore[reportPrivateUsage] - its own file


class _LogFile(logging.FileHandler):
    """`log.txt`; a disk that fails costs messages, never the run."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8")
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Say nothing: saying it would fail again."""

    def close(self) -> None:
        """Close the file, whatever is left in its buffer."""
        try:
            super().close()
        except OSError:
            self.stream = None  # pyright: ignore[reportAttributeAccessIssue] - as logging does
