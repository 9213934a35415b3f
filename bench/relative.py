"""How long recipes' steps take beside another recipe's, by turns on one thread."""

import statistics
import time

import torch

from manyviews.core import Clock
from manyviews.training import precision
from manyviews.training.optim import build

MIDDLE = Clock(500, 1000, 5, 10)
"""Half of a training: whatever begins later in it has begun."""


class Stepping:
    """A method, a batch that stays the same, and its optimiser."""

    def __init__(self, assembly, batch, embed_all):
        """Begin an epoch, and warm up."""
        self.method, self.batch = assembly.method.train(), batch
        run = assembly.run
        self.updates = build(self.method, run.optim, run.data.batch_size)
        self.device = assembly.device
        self.dtype = precision.autocast_dtype(run.train.precision, assembly.device)
        with torch.no_grad():
            self.method.before_epoch(MIDDLE, embed_all)
        self()

    def __call__(self):
        """The seconds of a step, from a batch that is there to the method's last hook."""
        began = time.perf_counter()
        self.updates.set_rates(MIDDLE)
        with precision.mixed(self.device, self.dtype):
            step = self.method(self.batch, MIDDLE)
        step.total.backward()
        self.updates.freeze(MIDDLE)
        norm = self.updates.grad_norm()
        with torch.no_grad():
            self.method.after_backward(step, MIDDLE)
        self.updates.apply(norm)
        with torch.no_grad():
            self.method.after_step(MIDDLE)
        self.updates.clear()
        return time.perf_counter() - began


def relative(unit, other, *, rounds):
    """The median over rounds of a step of `other` over the mean of the unit's before and after.

    So a machine whose speed drifts does not move it.
    """
    beside, found = [unit()], []
    for _ in range(rounds):
        found.append(other())
        beside.append(unit())
    pairs = zip(found, beside[:-1], beside[1:], strict=True)
    return statistics.median(2 * took / (one + two) for took, one, two in pairs)
