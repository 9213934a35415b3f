"""The order of samples, a pure function of (seed, epoch): nothing to save, nothing to restore."""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from manyviews.core import UsageError
from manyviews.core.nouns import SAMPLE, Noun

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def permutation(count: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """A permutation of [0, count), int64: positions sorted by a hash of (seed, epoch, position).

    The hash is splitmix64 (Steele, Lea, Flood 2014), computed here so that no library's next
    version can change the order of a run that is resumed.
    """
    start = _mix(_mix(np.array([seed % 2**64], np.uint64)) + np.array([epoch], np.uint64))
    keys = _mix(start + np.arange(count, dtype=np.uint64) * _GOLDEN)
    return np.argsort(keys, kind="stable")


def hashed(index: NDArray[np.int64], *, seed: int, epoch: int) -> NDArray[np.float64]:
    """[B] float64 in [0, 1) for samples [B]: random numbers that no permutation is made of."""
    start = _mix(_mix(np.array([~seed % 2**64], np.uint64)) + np.array([epoch], np.uint64))
    words = _mix(start + index.astype(np.uint64) * _GOLDEN)
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


@dataclass(frozen=True, kw_only=True)
class Order:
    """Which samples each micro-batch holds.

    An epoch is `count // batch` steps; the rest of the permutation is left out, another one in
    every epoch. A rank takes its contiguous slice of the global batch, and splits it into
    `accumulate` contiguous micro-batches.

    Attributes:
        count: samples in the data set.
        batch: samples per optimiser step, over all ranks and micro-batches.
        accumulate: micro-batches per step and rank.
        seed, rank, world: as everywhere.
        noun: what samples are called.
        replaces: a sample that cannot be read is replaced by another.
    """

    replaces: ClassVar[bool] = True
    count: int
    batch: int
    accumulate: int
    seed: int
    rank: int = 0
    world: int = 1
    noun: Noun = SAMPLE

    def __post_init__(self) -> None:
        parts = self.world * self.accumulate
        if self.batch < 1 or self.batch % parts:
            raise UsageError(
                f"--data.batch-size {self.batch} cannot be split over {self.world} ranks with "
                f"{self.accumulate} micro-batches each (--train.accumulate). Use a multiple of "
                f"{parts}, for instance {max(1, round(self.batch / parts)) * parts}."
            )
        if self.count == 1:
            raise UsageError(
                f"The data is one {self.noun.one}, from which nothing can be learnt. Add "
                f"{self.noun.many}: a method compares them with one another; wanted 2 or more."
            )
        if self.count < self.batch:
            smaller = self.count // parts * parts
            advice = (
                f"Set --data.batch-size {smaller} or less"
                if smaller
                else f"That is too few for {parts} micro-batches per step"
            )
            raise UsageError(
                f"The data has {self.count:,} {self.noun.many}, fewer than one batch "
                f"(--data.batch-size {self.batch}). {advice}, or add "
                f"{self.noun.many}."
            )

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps; samples that fill no batch wait for another epoch."""
        return self.count // self.batch

    @property
    def local(self) -> int:
        """Samples of a micro-batch of one rank."""
        return self.batch // (self.world * self.accumulate)

    def epoch(self, step: int) -> int:
        """The epoch that a step belongs to, from 0."""
        return step // self.steps_per_epoch

    def indices(self, step: int, part: int) -> NDArray[np.int64]:
        """[b] int64: the samples of one micro-batch of this rank."""
        place = step % self.steps_per_epoch
        start = place * self.batch + (self.rank * self.accumulate + part) * self.local
        return _cached(self.count, self.seed, self.epoch(step))[start : start + self.local]


@dataclass(frozen=True, kw_only=True)
class Pass:
    """Samples start to stop - 1 once, in the order of the data, as micro-batches of `local`.

    Attributes:
        count: samples in the data set.
        start, stop: this rank's.
        local: samples of a micro-batch; the last may have fewer.
    """

    replaces: ClassVar[bool] = False
    accumulate: ClassVar[int] = 1
    count: int
    start: int
    stop: int
    local: int

    @property
    def steps(self) -> int:
        """Micro-batches."""
        return -(-(self.stop - self.start) // self.local)

    def epoch(self, step: int) -> int:
        """0."""
        del step
        return 0

    def indices(self, step: int, part: int) -> NDArray[np.int64]:
        """[b] int64: the samples of one micro-batch."""
        del part
        start = self.start + step * self.local
        return np.arange(start, min(start + self.local, self.stop))


@lru_cache(maxsize=2)  # a worker may hold the end of one epoch and the start of the next
def _cached(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    order = permutation(count, seed=seed, epoch=epoch)
    order.flags.writeable = False
    return order


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Splitmix64's step and finaliser; arithmetic is modulo 2**64."""
    z = z + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
