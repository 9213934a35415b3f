"""Notices that training waits for data."""

_SHARE = 0.1
"""Of the time; below that, more speed in the data is hardly felt."""
_STEPS, _SECONDS = 20, 30.0
"""A look is at least so many steps and seconds long."""


class Waiting:
    """Says once when more than a tenth of the time goes into waiting for data.

    It looks at stretches of at least 20 steps and 30 s of training. The first 20 steps of a
    process, in which workers start and caches fill, are in none.
    """

    def __init__(self) -> None:
        self._first: int | None = None
        self._mark: tuple[int, float, float] | None = None
        self._said = False

    def share(self, step: int, *, seconds: float, waited: float) -> float:
        """The share of the time, in (0.1, 1], if it is to be said now; else 0.

        Args:
            step: optimiser steps done.
            seconds: of training, so far.
            waited: seconds of these that went into waiting.
        """
        if self._first is None:
            self._first = step
        if self._said or step < self._first + _STEPS:
            return 0.0
        if self._mark is None:
            self._mark = (step, seconds, waited)
        steps, spent = step - self._mark[0], seconds - self._mark[1]
        if steps < _STEPS or spent < _SECONDS:
            return 0.0
        share = (waited - self._mark[2]) / spent
        self._mark = (step, seconds, waited)
        self._said = share > _SHARE
        return share if self._said else 0.0
