"""What networks of blocks have in common: how deep parameters lie, and what blocks give."""

from collections.abc import Iterable, Sequence
from typing import cast

from torch import Tensor, nn

from manyviews.core import Unsupported, UsageError

_PLACES = {1: "", 2: ", or in two for its positions", 4: ", or in four for its positions"}
"""Parts that positions want of a width -> what is said of them."""


def by_blocks(stem: nn.Module, stages: Iterable[nn.Module]) -> Sequence[Sequence[nn.Parameter]]:
    """The parameters of a stem, then of each block of each stage, as `Encoder.layers` wants them.

    Args:
        stem: what comes first.
        stages: sequences of blocks.
    """
    blocks = [block for stage in stages for block in cast("Iterable[nn.Module]", stage)]
    return [list(module.parameters()) for module in (stem, *blocks)]


def heads_for(width: int, heads: int, *, parts: int = 1) -> int:
    """Heads of attention, one for each 64 channels where `heads` is 0.

    Args:
        width: channels.
        heads: as asked.
        parts: 1, 2 or 4: equal ones that positions want of the width.

    Raises:
        UsageError: the width cannot be split so.
    """
    heads = heads or max(1, width // 64)
    if width % heads or width % parts:
        raise UsageError(
            f"An encoder width of {width} cannot be split over {heads} heads{_PLACES[parts]}. "
            "Change --encoder.width or --encoder.heads."
        )
    return heads


def check_blocks(
    asked: int,
    there: int,
    *,
    of: str = "a transformer that",
    advice: str = "set a larger --encoder.depth",
) -> None:
    """Refuse to give the tokens of more blocks than there are.

    Args:
        asked: the last so many, as `blocks` of `Encoder`.
        there: of the network.
        of: what has so many.
        advice: what to do other than to ask for fewer.

    Raises:
        Unsupported: more were asked for.
    """
    if asked > there:
        raise Unsupported(
            f"{asked} blocks were asked of {of} has {there}. Ask for fewer or {advice}."
        )


def through(
    blocks: nn.Sequential | nn.ModuleList, sequence: Tensor, *, last: int, before: int = 0
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """What the blocks make of a sequence [B, P + N, D], and the tokens after the last so many.

    Args:
        blocks: in order.
        sequence: P class tokens, then N tokens.
        last: of how many blocks tokens are given, [B, N, D] each.
        before: P.
    """
    after: list[Tensor] = []
    for i, block in enumerate(blocks):
        sequence = block(sequence)
        if i >= len(blocks) - last:
            after.append(sequence[:, before:])
    return sequence, tuple(after)
