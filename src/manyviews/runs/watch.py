"""Joins the health monitor, which only looks, to a training that can be stopped and logged."""

from collections.abc import Mapping
from typing import Literal

from manyviews.core import Clock, Method, Step
from manyviews.diagnosis.alarms import Alarm
from manyviews.diagnosis.collapse import Health
from manyviews.runs.folder.lock import RunDirectory
from manyviews.training.job import Collapsed


class Watch:
    """A monitor for `training.job.Job`: health numbers, and each alarm as a line of metrics.jsonl.

    Args:
        directory: where alarms are logged.
        on_collapse: "stop" raises `Collapsed` at an alarm that makes training on pointless.
    """

    def __init__(self, directory: RunDirectory, *, on_collapse: Literal["warn", "stop"]) -> None:
        self._directory = directory
        self._health = Health(stop=self._stop if on_collapse == "stop" else None)
        self._written = 0

    def __call__(
        self, method: Method, step: Step, clock: Clock, losses: Mapping[str, float]
    ) -> Mapping[str, float]:
        """Look at a step; return numbers to log."""
        try:
            return self._health(method, step, clock, losses)
        finally:
            for alarm in self._health.alarms[self._written :]:
                self.write(alarm)
            self._written = len(self._health.alarms)

    def write(self, alarm: Alarm) -> None:
        """Log an alarm."""
        self._directory.metrics(
            "alarm", {"step": alarm.step, "name": alarm.name, "message": str(alarm)}
        )

    @property
    def said(self) -> list[str]:
        """All alarms, a line each."""
        return [f"step {alarm.step}: {alarm}" for alarm in self._health.alarms]

    @staticmethod
    def _stop(alarm: Alarm) -> None:
        raise Collapsed(str(alarm))
