"""How often a training sees its data, counted in one way wherever that is said or judged."""


def passes(steps: float, *, batch: int, samples: int) -> float:
    """Samples seen over samples there are, on average; 0 where there are none.

    That is less than the epochs where an epoch ends with its last whole batch: of 803 samples in
    batches of 256 it sees 768.

    Args:
        steps: optimiser steps done, or planned.
        batch: samples of a step, over all ranks and micro-batches.
        samples: in the data.
    """
    return steps * batch / samples if samples else 0.0


def round_passes(value: float) -> str:
    """Passes as people read them: one place behind the point below ten, none above."""
    return f"{value:,.1f}" if value < 10 else f"{value:,.0f}"
