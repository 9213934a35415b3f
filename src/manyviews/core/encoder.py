"""Any backbone, whatever it is fed."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from manyviews.core.batch import Features, Hide
from manyviews.core.inputs import Input


class Encoder(nn.Module):
    """Any backbone: normalised views in, Features out.

    Call: `encoder(x, keep=None, hide=None, blocks=0, tokens=True)`, x [B, *input.shape], for
    instance images [B, C, H, W], clips [B, C, T, H, W] or spectrograms [B, 1, F, bins].
    keep [B, K] int64: encode only these tokens (MAE). hide: replace these tokens by a token that
    the method owns (iBOT, BEiT). blocks: also return the tokens of the last `blocks` blocks.
    tokens=False: nobody reads `Features.tokens`, and an encoder may leave them out.
    An encoder that cannot do what is asked raises `Unsupported`.

    Attributes:
        input: what it is fed.
        dim: D, width of `pooled`, and of `tokens` as `Features` says.
        grid: the places of its tokens, which `keep` and `hide` count row by row: (rows,
            columns) of an image.
        patch: what a token stands for along each axis of the grid, in pixels or frames.
    """

    input: Input
    dim: int
    grid: tuple[int, ...]
    patch: tuple[int, ...] = ()

    @property
    def num_tokens(self) -> int:
        """N, for what `input` says."""
        return math.prod(self.grid)

    def by_depth(self) -> Sequence[Sequence[nn.Parameter]]:
        """Its parameters from the input on: what comes before the first block, then each block.

        What follows the last block (a final norm) is in none, and neither is anything of an
        encoder that does not say how deep it is.
        """
        return []

    def patch_embedding(self) -> Sequence[nn.Parameter]:
        """What turns pixels into tokens, before positions; nothing where that is no one layer."""
        return []

    if TYPE_CHECKING:

        def __call__(
            self,
            x: Tensor,
            *,
            keep: Tensor | None = None,
            hide: Hide | None = None,
            blocks: int = 0,
            tokens: bool = True,
        ) -> Features:
            """Encode a batch."""
            ...
