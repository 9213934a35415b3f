"""How deep in a network of stages its parameters lie."""

from collections.abc import Iterable, Sequence
from typing import cast

from torch import nn


def by_blocks(stem: nn.Module, stages: Iterable[nn.Module]) -> Sequence[Sequence[nn.Parameter]]:
    """The parameters of a stem, then of each block of each stage, as `Encoder.layers` wants them.

    Args:
        stem: what comes first.
        stages: sequences of blocks.
    """
    blocks = [block for stage in stages for block in cast("Iterable[nn.Module]", stage)]
    return [list(module.parameters()) for module in (stem, *blocks)]
