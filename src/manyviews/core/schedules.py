"""Scalars that change over training. A schedule is asked with a clock, never stepped."""

import math
from dataclasses import dataclass

from manyviews.core import Clock
from manyviews.core.ranges import Share


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from `start` to `end` over the whole of training."""

    start: float
    end: float

    def at(self, clock: Clock) -> float:
        """The value for the step that begins at `clock`."""
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * clock.progress)) / 2


@dataclass(frozen=True)
class Ramp:
    """Linear from `start` to `end` over the first `fraction` of training, then constant.

    With `by_epoch` the value only changes between epochs, as in DINO's teacher temperature
    (facebookresearch/dino main_dino.py: linspace over the warm-up epochs, indexed by epoch).
    """

    start: float
    end: float
    fraction: Share = 0.0
    by_epoch: bool = False

    def at(self, clock: Clock) -> float:
        """The value for the step that begins at `clock`."""
        if self.by_epoch:
            length = round(self.fraction * clock.epochs)
            done = 1.0 if clock.epoch >= length else clock.epoch / max(1, length - 1)
        else:
            done = clock.progress / self.fraction if self.fraction > 0 else 1.0
        return self.start + (self.end - self.start) * min(1.0, done)


@dataclass(frozen=True)
class WarmupCosine:
    """Linear from `start` to `peak` over the first `warmup` share, then half a cosine to `end`.

    `by_epoch` holds the value constant within an epoch (MoCo v2, SimSiam).
    """

    peak: float
    end: float = 0.0
    warmup: float = 0.0
    start: float = 0.0
    by_epoch: bool = False

    def at(self, clock: Clock) -> float:
        """The value for the step that begins at `clock`."""
        done = clock.epoch / max(1, clock.epochs) if self.by_epoch else clock.progress
        if done < self.warmup:
            return self.start + (self.peak - self.start) * done / self.warmup
        rest = (done - self.warmup) / max(1e-12, 1 - self.warmup)
        return self.end + (self.peak - self.end) * (1 + math.cos(math.pi * min(1.0, rest))) / 2
