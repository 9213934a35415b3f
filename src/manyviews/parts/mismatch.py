"""Pairs that do not belong together."""

from typing import Any

import torch
from torch import Tensor

from manyviews.core import comm


def of_another(x: Tensor) -> Tensor:
    """For each sample the row of the next one in the global batch; for the last the first's.

    Gradients reach the rows wherever they are. In a batch of one the row is its own.

    Args:
        x: [B, ...] of this rank.

    Returns:
        [B, ...].
    """
    every = comm.gather(x)
    own = comm.share(torch.arange(len(every), device=x.device))
    return every[(own + 1) % len(every)]


def shared_seconds(offset: Tensor, *, clip: float, sound: float) -> Tensor:
    """How long a sound and a clip go on together; 0 and less where they share no time.

    Args:
        offset: [B] seconds by which the sound begins later than its clip.
        clip: seconds that a clip lasts.
        sound: seconds that a sound lasts.
    """
    return (offset + sound).clamp(max=clip) - offset.clamp(min=0)


def seconds(input: Any) -> float:
    """How long what is fed lasts; 0 of what has no time."""
    return float(getattr(input, "seconds", 0.0))
