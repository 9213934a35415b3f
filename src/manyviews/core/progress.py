"""What people see while they wait: a first line at once, then bars, or plain lines in a pipe."""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

LOADING = "loading PyTorch ..."
"""The first line of a verb that needs it."""

_FIRST, _LONGEST = 2.0, 60.0
"""Seconds until the first plain line; the pause doubles from line to line up to the longest."""


def say_loading() -> None:
    """Say on standard error that PyTorch is being loaded, if it is not there yet.

    That takes seconds, on a busy machine twenty, in which nothing else can be said.
    """
    if "torch" not in sys.modules:
        _write(LOADING)


@contextmanager
def bar(what: str) -> Generator[Callable[[int, int], None]]:
    """A progress bar on standard error; call it with (done, in all).

    Where that is no terminal there are plain lines, after 2, 6, 14, ... seconds.
    """
    from rich.console import Console  # a fifth of a second, which the first line does not wait for
    from rich.progress import Progress

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Plain(what)
        return
    with Progress(console=console, transient=True) as bars:
        task = bars.add_task(what, total=None)  # it moves until there is a count
        yield lambda done, total: bars.update(task, completed=done, total=total)


@contextmanager
def phase(what: str) -> Generator[None]:
    """Say what goes on where nobody knows how long: a moving bar, or in a pipe one line."""
    with bar(what) as tell:
        if isinstance(tell, _Plain):
            _write(f"{what} ...")
        yield


def once_each(say: Callable[[str], object]) -> Callable[[str], None]:
    """The same, but a line that was said before is not said again."""
    said: set[str] = set()

    def once(line: str) -> None:
        if line not in said:
            said.add(line)
            say(line)

    return once


def _write(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


class _Plain:
    """Plain lines of how far something is, ever less often."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._pause = _FIRST
        self._last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last < self._pause:
            return
        _write(f"{self._what}: {done:,} of {total:,}")
        self._last, self._pause = now, min(_LONGEST, 2 * self._pause)
