"""Which numbers of a run's settings mean something.

The encoder's are checked by whoever builds it, the views' by their own check; here is the rest.
"""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from manyviews.core import UsageError
from manyviews.methods.catalog import name_of
from manyviews.runs.settings import AnyRun
from manyviews.views.image.engine import check as check_views


@dataclass(frozen=True)
class Range:
    """What a number has to be.

    Attributes:
        wanted: in words, after "wanted".
        low, high: the least and the largest.
        above: `low` itself is too little.
        below: `high` itself is too much.
        off: one number beside the range, for "none" or "as it is".
    """

    wanted: str
    low: float
    high: float = math.inf
    above: bool = False
    below: bool = False
    off: float | None = None

    def holds(self, number: float) -> bool:
        """Whether a number is in it; NaN and infinity are in none."""
        if number == self.off:
            return True
        least = number > self.low if self.above else number >= self.low
        most = number < self.high if self.below else number <= self.high
        return least and most and math.isfinite(number)


COUNT = Range("1 or more", 1)
SEVERAL = Range("2 or more", 2)
NOT_NEGATIVE = Range("0 or more", 0)
POSITIVE = Range("a number above 0", 0, above=True)
SHARE = Range("a share from 0 to 1", 0, 1)
DECAYING = Range("at least 0 and below 1", 0, 1, below=True)
CONCENTRATION = Range("above 0 and up to 100000", 0, 100_000, above=True)

RANGES: dict[str, Range] = {
    "seed": Range("a whole number of 64 bits", -(2**63), 2**63, below=True),
    "data.batch_size": COUNT,
    "data.channels": COUNT,
    "data.mean": Range("numbers from 0 to 1, of pixels from 0 to 1", 0, 1),
    "data.std": Range("numbers above 0 and up to 1, of pixels from 0 to 1", 0, 1, above=True),
    "data.max_bad": SHARE,
    "data.max_pixels": COUNT,
    "data.workers": Range("a number of processes, 0 for none or -1 to choose", -1),
    "optim.lr": NOT_NEGATIVE,
    "optim.lr_per": NOT_NEGATIVE,
    "optim.lr_end": SHARE,
    "optim.lr_start": SHARE,
    "optim.warmup": SHARE,
    "optim.weight_decay": NOT_NEGATIVE,
    "optim.weight_decay_end": Range("0 or more, or -1 for no change", 0, off=-1),
    "optim.lr_1d": Range("0 or more, or -1 to take --optim.lr", 0, off=-1),
    "optim.momentum": DECAYING,
    "optim.betas": DECAYING,
    "optim.clip": NOT_NEGATIVE,
    "train.steps": NOT_NEGATIVE,
    "train.epochs": NOT_NEGATIVE,
    "train.minutes": NOT_NEGATIVE,
    "train.accumulate": COUNT,
    "train.checkpoint_every": NOT_NEGATIVE,
    "train.keep": COUNT,
    "train.log_every": COUNT,
    "train.health_every": COUNT,
    "probe.every": NOT_NEGATIVE,
    # Of methods, which call like things alike; one that means another thing is listed by its name.
    "method.temperature": POSITIVE,
    "method.teacher_temperature.start": POSITIVE,
    "method.teacher_temperature.end": POSITIVE,
    "method.teacher_temperature.fraction": SHARE,
    "method.sharpness": POSITIVE,
    "method.concentration": CONCENTRATION,
    "method.entropy_concentration": CONCENTRATION,
    "method.momentum.start": SHARE,
    "method.momentum.end": SHARE,
    "method.center_momentum": SHARE,
    "method.queue_from": SHARE,
    "method.frozen_until": SHARE,
    "method.entropy": NOT_NEGATIVE,
    "method.entropy_weight": NOT_NEGATIVE,
    "method.off_diagonal": NOT_NEGATIVE,
    "method.invariance": NOT_NEGATIVE,
    "method.variance": NOT_NEGATIVE,
    "method.covariance": NOT_NEGATIVE,
    "method.hidden": COUNT,
    "simclr.hidden": NOT_NEGATIVE,
    "moco.hidden": NOT_NEGATIVE,
    "method.out": COUNT,
    "method.bottleneck": COUNT,
    "method.prototypes": SEVERAL,
    "method.rounds": COUNT,
    "method.queue": COUNT,
    "swav.queue": NOT_NEGATIVE,
    "method.norm_groups": NOT_NEGATIVE,
    "method.patch": COUNT,
    "method.channels": COUNT,
    "method.width": COUNT,
    "method.depth": COUNT,
    "method.heads": COUNT,
}


def check(run: AnyRun) -> None:
    """Refuse numbers that mean nothing.

    Raises:
        UsageError: names the flag, the value and what was wanted.
    """
    method = name_of(run.method)
    for path, value in _numbers(run, ""):
        own = RANGES.get(path.replace("method.", f"{method}.", 1), RANGES.get(path))
        for number in value if isinstance(value, tuple) else (value,):
            if own is not None and not own.holds(number):
                _refuse(path, value, own.wanted)
            if not math.isfinite(number):
                _refuse(path, value, "finite numbers")
    check_views(run.views)  # an encoder is built for their size


def _refuse(path: str, value: float | tuple[float, ...], wanted: str) -> None:
    flag = path.replace("_", "-")
    said = " ".join(f"{x:g}" for x in value) if isinstance(value, tuple) else f"{value}"
    raise UsageError(f"--{flag} is {said}; wanted {wanted}.")


def _numbers(value: Any, path: str) -> Iterator[tuple[str, float | tuple[float, ...]]]:
    """Every setting that is a number or several, by the name of its flag."""
    for field in dataclasses.fields(value):
        inner, name = getattr(value, field.name), f"{path}{field.name.rstrip('_')}"
        if dataclasses.is_dataclass(inner):
            yield from _numbers(inner, f"{name}.")
        elif isinstance(inner, int | float) and not isinstance(inner, bool):
            yield name, inner
        elif isinstance(inner, tuple):
            yield name, cast("tuple[float, ...]", inner)
