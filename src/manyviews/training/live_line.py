"""One live line on standard error: is it learning, how fast, how long still, is it healthy?"""

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

_LIGHTS = {0: ("●", "green"), 1: ("●", "yellow"), 2: ("●", "red")}
_WORDS = {0: "healthy", 1: "watch", 2: "ALARM"}


@dataclass(frozen=True)
class Reading:
    """What the line shows.

    Attributes:
        done: share of training done, in [0, 1].
        step: optimiser steps done.
        epoch: epochs begun.
        loss: of the last step.
        lr: of the last step.
        speed: samples/s over the last stretch.
        wait: share of time spent waiting for data, in [0, 1].
        left: seconds to the end, estimated.
        health: 0 healthy, 1 watch, 2 alarm.
    """

    done: float
    step: int
    epoch: int
    loss: float
    lr: float
    speed: float
    wait: float
    left: float
    health: int = 0


class LiveLine:
    """Shows readings: redrawn in place on a terminal, now and then as plain lines elsewhere.

    Plain lines come after 1, 2, 4, ... seconds and then every minute.
    """

    def __init__(self, *, shown: bool = True, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._shown = shown
        self._live: Live | None = None
        self._started = self._last = time.monotonic()
        self._pause = 1.0

    def __enter__(self) -> Self:
        if self._shown and self._console.is_terminal:
            self._live = Live(Text("the first step ..."), console=self._console, auto_refresh=False)
            self._live.start(refresh=True)  # of a large network it can take a minute
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def due(self) -> bool:
        """Whether it is time to show again; ask before computing a reading."""
        now = time.monotonic()
        return self._shown and now - self._last >= (0.25 if self._live else self._pause)

    def show(self, reading: Reading) -> None:
        """Show a reading."""
        self._last = time.monotonic()
        if self._live is not None:
            self._live.update(_text(reading), refresh=True)
        elif self._shown:
            self._console.print(_plain(reading), markup=False, highlight=False, soft_wrap=True)
            self._pause = min(60.0, 2 * self._pause)


def _parts(r: Reading) -> list[str]:
    return [
        f"{100 * r.done:5.1f} %",
        f"step {r.step}",
        f"epoch {r.epoch}",
        f"loss {r.loss:.4f}",
        f"lr {r.lr:.2e}",
        f"{r.speed:.0f} samples/s",
        f"waiting for data {100 * r.wait:.0f} %",
        f"{clock_time(r.left)} left",
    ]


def _plain(r: Reading) -> str:
    return "  ".join([*_parts(r), _WORDS[r.health]])


def _text(r: Reading) -> Text:
    sign, colour = _LIGHTS[r.health]
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"{sign} ", style=colour)
    line.append("  ".join(_parts(r)))
    if r.health:
        line.append(f"  {_WORDS[r.health]}", style=colour)
    return line


def clock_time(seconds: float) -> str:
    """Seconds as h:mm:ss or m:ss."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, last = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{last:02d}" if hours else f"{minutes}:{last:02d}"
