"""Joins the health monitor, which only looks, to a training that can be stopped and logged."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from torch import Tensor

from manyviews.core import Clock, Method, Step
from manyviews.core.nouns import SAMPLE, Noun
from manyviews.diagnosis.alarms import Alarm
from manyviews.diagnosis.collapse import Health
from manyviews.runs.folder.lock import RunDirectory
from manyviews.training.job import Collapsed


class Watch:
    """A monitor for `training.job.Job`: health numbers, and each alarm as a line of metrics.jsonl.

    Args:
        directory: where alarms are logged.
        on_collapse: "stop" raises `Collapsed` at an alarm that makes training on pointless.
        noun: what samples are called in alarms.
    """

    def __init__(
        self,
        directory: RunDirectory,
        *,
        on_collapse: Literal["warn", "stop"],
        noun: Noun = SAMPLE,
    ) -> None:
        self._directory = directory
        self._on_collapse, self._noun = on_collapse, noun
        self._healths: dict[str, Health] = {}
        self._written: set[int] = set()

    def __call__(
        self, method: Method, step: Step, clock: Clock, losses: Mapping[str, float]
    ) -> Mapping[str, float]:
        """Look at a step; return numbers to log.

        Several encoders are looked at each by itself, so that a collapsed one cannot hide behind
        a healthy one; their numbers then bear their names.
        """
        several = len(step.embedding) > 1
        found: dict[str, float] = {}
        for name, views in step.embedding.items():
            own = replace(step, embedding={name: views}, projection=None) if several else step
            try:
                numbers = self._of(name)(method, own, clock, losses)
            finally:
                self._write_new(name if several else "")
            light = max(found.get("health", 0.0), numbers.get("health", 0.0))
            named = {f"{key}/{name}": value for key, value in numbers.items()}
            found.update(named if several else numbers, health=light)
        return found

    def _of(self, name: str) -> Health:
        stop = self._stop if self._on_collapse == "stop" else None
        return self._healths.setdefault(name, Health(stop=stop, noun=self._noun))

    def _write_new(self, name: str) -> None:
        for alarm in self._alarms():
            if id(alarm) not in self._written:
                self.write(alarm, of=name)
                self._written.add(id(alarm))

    def _alarms(self) -> list[Alarm]:
        return [alarm for health in self._healths.values() for alarm in health.alarms]

    def write(self, alarm: Alarm, *, of: str = "") -> None:
        """Log an alarm, of the encoder of a name where there are several."""
        message = f"{of}: {alarm}" if of else str(alarm)
        self._directory.metrics(
            "alarm",
            {"step": alarm.step, "name": alarm.name, "light": alarm.light, "message": message},
        )

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What the next check and the list of alarms depend on, of every encoder."""
        numbers, tensors = dict[str, Any](), dict[str, Tensor]()
        for name, health in self._healths.items():
            numbers[name], own = health.state()
            tensors |= {f"{name}/{key}": tensor for key, tensor in own.items()}
        return numbers, tensors

    def restore(self, numbers: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave; its alarms are in metrics.jsonl already."""
        for name, own in numbers.items():
            start = f"{name}/"
            matrices = {k.removeprefix(start): t for k, t in tensors.items() if k.startswith(start)}
            self._of(name).restore(own, matrices)
        self._written = {id(alarm) for alarm in self._alarms()}

    @property
    def said(self) -> list[str]:
        """All alarms, a line each."""
        return [f"step {alarm.step}: {alarm}" for alarm in self._alarms()]

    @staticmethod
    def _stop(alarm: Alarm) -> None:
        raise Collapsed(str(alarm))
