"""An encoder that ends within its projection head."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from manyviews.core import Encoder, Features


class Headed(Encoder):
    """An encoder whose pooled output goes through the first layers of a head.

    Early layers of a deep head keep more than its output and, as SimCLR v2 found, can serve labels
    better than the encoder alone when both are fine-tuned. Tokens are the encoder's.

    Args:
        encoder: as it is.
        layers: [B, D] -> [B, dim].
        dim: width of what the layers put out.

    Source: Chen et al. 2020 (SimCLR v2), arXiv:2006.10029, section 3.
    """

    def __init__(self, encoder: Encoder, layers: nn.Sequential, dim: int) -> None:
        super().__init__()
        self.encoder, self.layers, self.dim = encoder, layers, dim
        self.input, self.grid, self.patch = encoder.input, encoder.grid, encoder.patch

    def forward(self, x: Tensor, **asked: Any) -> Features:
        """As the encoder, with the layers behind."""
        found = self.encoder(x, **asked)
        return replace(found, pooled=self.layers(found.pooled))

    def by_depth(self) -> Sequence[Sequence[nn.Parameter]]:
        """The encoder's, and the layers of the head as one more block."""
        known = self.encoder.by_depth()
        return [*known, list(self.layers.parameters())] if known else []

    def patch_embedding(self) -> Sequence[nn.Parameter]:
        """The encoder's."""
        return self.encoder.patch_embedding()


def first_layers(head: nn.Sequential, count: int) -> tuple[nn.Sequential, int]:
    """The first linear layers of a head with all that follows each, and their width.

    Raises:
        ValueError: the head has not more than so many, so that nothing of it would be left out.
    """
    where = [i for i, layer in enumerate(head) if isinstance(layer, nn.Linear)]
    if not 0 < count < len(where):
        raise ValueError(len(where))
    last = head[where[count - 1]]
    assert isinstance(last, nn.Linear)
    return head[: where[count]], last.out_features
