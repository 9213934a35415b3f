"""A monitor that watches a training for collapse, cheaply and without labels."""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from manyviews.core import Clock, Method, Step
from manyviews.core.nouns import SAMPLE, Noun
from manyviews.diagnosis.alarms import RULES, Alarm, Light, Numbers, Rule
from manyviews.diagnosis.checkup import RollingRank, spread
from manyviews.diagnosis.wiring import some_of_targets

__all__ = ["Alarm", "Health"]

log = logging.getLogger("manyviews")

_ROWS = 512  # of a batch that are looked at
_LOGGED = ("rank", "std", "cosine")
WEIGHT = 0.3
"""Of the newest check in a running mean."""
_PROJECTED = ("consistency", "alignment", "uniformity", "entropy", "reconstruction")


class Health:
    """Call it every so many steps with the step just made; it returns numbers to log.

    An alarm is raised when a rule of `alarms.RULES` holds at `sustain` checks in a row; it is
    logged as a warning, once. It passes when the rule does not hold at as many. Health keeps no
    gradient, changes nothing, uses no random numbers and asks no other rank.

    Returned numbers:
        rank_embedding, rank_projection: effective rank, centred, over about the last `rows` rows
            and at most 16 checks.
        std_embedding, std_projection: as `uniformity.feature_std`.
        cosine_embedding, cosine_projection: mean cosine between different samples.
        consistency, alignment, uniformity, entropy, reconstruction: of the projection, or of the
            embedding where there is none; see `checkup.spread`.
        watch/NAME: what the method says of itself.
        health: 0 ok, 1 warn, 2 bad.

    Args:
        stop: called with each "bad" alarm, and may raise. None goes on.
        sustain: checks in a row.
        rows: that effective ranks look back on.
        columns: of wider outputs so many columns, evenly spaced, make the effective rank.
        rank_every: checks between effective ranks, which are the dearest numbers; in between the
            last one is repeated, and rules about it are not asked.
        noun: what samples are called in alarms.

    Attributes:
        alarms: all that were raised, in order.
        active: name -> alarm, of those that have not passed.
    """

    def __init__(
        self,
        *,
        stop: Callable[[Alarm], None] | None = None,
        sustain: int = 3,
        rows: int = 2048,
        columns: int = 512,
        rank_every: int = 4,
        noun: Noun = SAMPLE,
    ) -> None:
        self.alarms: list[Alarm] = []
        self.active: dict[str, Alarm] = {}
        self._stop, self._sustain, self._rank_every = stop, sustain, rank_every
        self._noun = noun
        self._ranks = {
            space: RollingRank(rows=rows, columns=columns) for space in ("embedding", "projection")
        }
        self._checks = 0
        self._wrong: dict[str, int] = {}  # rule -> checks in a row at which it held
        self._right: dict[str, int] = {}  # ... at which it did not
        self._was_right: set[str] = set()
        self._peaks = Numbers()
        self._found = math.nan  # running mean of the share of images that find their other view
        self._target = torch.empty(0)  # of the last check

    @property
    def light(self) -> Light:
        """The worst of the alarms that have not passed."""
        lights = {alarm.light for alarm in self.active.values()}
        return "bad" if "bad" in lights else "warn" if lights else "ok"

    @torch.no_grad()
    def __call__(
        self, method: Method, step: Step, clock: Clock, metrics: Mapping[str, float]
    ) -> Mapping[str, float]:
        """Look at one step."""
        del metrics
        numbers = self._measure(step, clock)
        numbers["target_moved"] = self._moved(method)
        measured = self._checks % self._rank_every == 0
        self._checks += 1
        for rule in RULES:
            known = math.isfinite(numbers[rule.about])
            if known and (measured or rule.about != "rank_embedding"):
                self._ask(rule, numbers, clock)
        said = {
            name: value
            for name, value in numbers.items()
            if name.startswith(_LOGGED) and name != "rank_peak"
        }
        for name in _PROJECTED:
            said[name] = _of_loss(numbers, name)
        said |= {f"watch/{name}": numbers[name] for name in step.watch}
        said["health"] = float(("ok", "warn", "bad").index(self.light))
        return {name: value for name, value in said.items() if math.isfinite(value)}

    def _measure(self, step: Step, clock: Clock) -> Numbers:
        scalars: dict[str, Tensor] = dict(step.watch)
        numbers = Numbers()
        for turn, (space, rank) in enumerate(self._ranks.items()):
            [embedding] = step.embedding.values()  # `runs.watch` parts several
            views = embedding if space == "embedding" else step.projection
            if views is None or len(views) < 2:
                continue
            views = views[:_ROWS].detach().float()
            scalars |= {f"{name}_{space}": value for name, value in spread(views).items()}
            rank.add(views[:, 0])
            # not both at one check
            if self._checks % self._rank_every == 2 * turn % self._rank_every:
                rank.measure()
            numbers[f"rank_{space}"] = rank.rank
        if scalars:
            stacked = torch.stack([v.detach().float().reshape(()) for v in scalars.values()])
            numbers.update(zip(scalars, stacked.tolist(), strict=True))  # the one transfer
        numbers["width"] = float(self._ranks["embedding"].width)
        numbers["rank_peak"] = self._peak("rank_embedding", numbers, since=0.1, clock=clock)
        numbers["scale"] = numbers["raw_projection"] / self._peak(
            "raw_projection", numbers, since=0.0, clock=clock
        )
        numbers["found"] = self._found_lately(_of_loss(numbers, "consistency"))
        numbers["found_peak"] = self._peak("found", numbers, since=0.0, clock=clock)
        return numbers

    def _found_lately(self, share: float) -> float:
        """The running mean with one more share of images that find their other view."""
        if math.isfinite(share):
            known = share if math.isnan(self._found) else self._found
            self._found = known + WEIGHT * (share - known)
        return self._found

    def _moved(self, method: Method) -> float:
        """How far the farthest of some weights of slow copies went since the last check, or NaN."""
        now = some_of_targets(method)
        before, self._target = self._target, now
        same = len(now) == len(before) > 0
        return float((now - before.to(now.device)).abs().amax()) if same else math.nan

    def _peak(self, name: str, numbers: Numbers, *, since: float, clock: Clock) -> float:
        """The largest value so far, counting from a share of training; NaN before."""
        if clock.progress >= since and math.isfinite(numbers[name]):
            known = self._peaks[name]
            self._peaks[name] = numbers[name] if math.isnan(known) else max(known, numbers[name])
        return self._peaks[name] or math.nan

    def _ask(self, rule: Rule, numbers: Numbers, clock: Clock) -> None:
        if not rule.holds(numbers):
            self._was_right.add(rule.name)
            self._wrong[rule.name] = 0
            self._right[rule.name] = self._right.get(rule.name, 0) + 1
            if self._right[rule.name] >= self._sustain:
                self.active.pop(rule.name, None)
            return
        self._right[rule.name] = 0
        if clock.progress < (rule.onset if rule.name in self._was_right else rule.stuck):
            return
        self._wrong[rule.name] = self._wrong.get(rule.name, 0) + 1
        if self._wrong[rule.name] < self._sustain:
            return
        if rule.name not in self.active:
            self._raise(rule, numbers, clock)
        elif self._stop is not None and rule.light == "bad":
            self._stop(self.active[rule.name])  # that stopped a training which was resumed since

    def _raise(self, rule: Rule, numbers: Numbers, clock: Clock) -> None:
        alarm = Alarm(
            rule.name,
            self._noun.fill(rule.cause),
            rule.advice,
            message=self._noun.fill(rule.message).format_map(numbers),
            light=rule.light,
            step=clock.step,
        )
        self.alarms.append(alarm)
        self.active[rule.name] = alarm
        log.warning("step %d: %s", clock.step, alarm)
        if self._stop is not None and rule.light == "bad":
            self._stop(alarm)

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """All that the next check depends on: as JSON, and the tensors of the rolling ranks."""
        ranks, tensors = dict[str, Any](), dict[str, Tensor]()
        for space, rank in self._ranks.items():
            ranks[space], own = rank.state()
            tensors |= {f"{space}.{name}": tensor for name, tensor in own.items()}
        tensors |= {"target": self._target} if len(self._target) else {}
        numbers = {
            "alarms": [asdict(alarm) for alarm in self.alarms],
            "active": {name: self.alarms.index(alarm) for name, alarm in self.active.items()},
            "checks": self._checks,
            "wrong": dict(self._wrong),
            "right": dict(self._right),
            "was_right": sorted(self._was_right),
            "peaks": dict(self._peaks),
            "found": None if math.isnan(self._found) else self._found,
            "ranks": ranks,
        }
        return numbers, tensors

    def restore(self, numbers: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take up what `state` gave; rules that are no more are let go."""
        known = {rule.name for rule in RULES}
        self.alarms = [Alarm(**alarm) for alarm in numbers["alarms"]]
        self.active = {n: self.alarms[i] for n, i in numbers["active"].items() if n in known}
        self._checks = int(numbers["checks"])
        self._wrong, self._right = dict(numbers["wrong"]), dict(numbers["right"])
        self._was_right = set(numbers["was_right"])
        self._peaks = Numbers(numbers["peaks"])
        found = numbers.get("found")  # runs that began before this was kept have none
        self._found = math.nan if found is None else float(found)
        self._target = tensors.get("target", torch.empty(0))
        for space, rank in self._ranks.items():
            own = {k.partition(".")[2]: t for k, t in tensors.items() if k.startswith(f"{space}.")}
            rank.restore(numbers["ranks"][space], own)


def _of_loss(numbers: Numbers, name: str) -> float:
    """A number of what the loss sees, or of the embedding where it sees nothing else."""
    value = numbers[f"{name}_projection"]
    return numbers[f"{name}_embedding"] if math.isnan(value) else value
