"""An encoder that stands still at first, while the heads on it learn."""

from torch import nn

from manyviews.core import Clock, Encoder


def encoders_in(method: nn.Module) -> list[Encoder]:
    """Every encoder in a method, those of slow copies too."""
    return [module for module in method.modules() if isinstance(module, Encoder)]


class Frozen:
    """Keeps a method's encoders as they are for the first part of a training.

    They are in evaluation mode, so that batch norms use and keep their statistics and dropout is
    off, and their gradients are dropped, so that neither weights nor the optimiser's state move. A
    slow copy follows an encoder that stands still, and is the same in evaluation. All follows from
    the clock, so nothing is saved.

    Args:
        method: in train mode.
        until: a share of training below 1, or a number of steps; 0 freezes nothing.
    """

    def __init__(self, method: nn.Module, until: float) -> None:
        self.until = until
        inside = encoders_in(method) if until > 0 else []
        self._modes = {part: part.training for encoder in inside for part in encoder.modules()}
        self._params = [p for encoder in inside for p in encoder.parameters()]
        self._now = False

    def holds(self, clock: Clock) -> bool:
        """Whether the step that begins at `clock` leaves the encoders as they are."""
        return (clock.step if self.until >= 1 else clock.progress) < self.until

    def set_mode(self, clock: Clock) -> None:
        """Put the encoders into the mode for the step that begins at `clock`."""
        holds = self.holds(clock)
        if holds or self._now:
            for part, mode in self._modes.items():
                part.training = mode and not holds
        self._now = holds

    def drop(self, clock: Clock) -> None:
        """Forget the encoders' gradients where they stand still."""
        if self.holds(clock):
            for p in self._params:
                p.grad = None
