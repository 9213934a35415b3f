"""SIGTERM and SIGINT ask training to stop at the next step; a second SIGINT stops it at once."""

import os
import signal
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

_ONE_PRESS = 0.5
"""Seconds within which a repeated SIGINT is the same key press: torchrun forwards what the
terminal has already sent to the whole process group."""


class Waited(BaseException):
    """A stop was asked for while the loop was only waiting, so nothing is half done.

    As KeyboardInterrupt, none of those who take any error of theirs for a reason to go on another
    way may take this one.
    """


class Stop:
    """Turns SIGTERM and SIGINT into a flag, and gives the old handlers back at the end.

    Off the main thread, where Python allows no handlers, it never triggers.

    Attributes:
        asked: name of the signal that came, or "".
    """

    def __init__(self) -> None:
        self.asked = ""
        self._first = 0.0
        self._waiting = False
        self._old: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._old[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        self._old.clear()

    @contextmanager
    def interruptible(self) -> Generator[None]:
        """Inside, a signal raises `Waited` instead of waiting for the step to end."""
        self._waiting = True
        try:
            if self.asked:
                raise Waited
            yield
        finally:
            self._waiting = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.asked:
            if number == signal.SIGINT and now - self._first > _ONE_PRESS:
                _die()
            return
        self.asked, self._first = signal.Signals(number).name, now
        if self._waiting:
            self._waiting = False
            raise Waited


def _die() -> None:
    """End this process as an unhandled SIGINT would, without clean-up that could hang."""
    if sys.stderr.isatty():
        os.write(2, b"\x1b[?25h\n")  # the progress line hides the cursor
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)
