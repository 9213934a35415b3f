"""An encoder and its head, held together so that one EMA can follow both."""

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from manyviews.core import Encoder, Features


class Branch(nn.Module):
    """An encoder and the head that carries its pooled output into the space of a loss.

    Call: `branch(x, **tokens)` -> (Features, [B, P]); `tokens` go to the encoder.
    """

    def __init__(self, encoder: Encoder, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    if TYPE_CHECKING:

        def __call__(self, x: Tensor, **tokens: Any) -> tuple[Features, Tensor]:
            """The typed `forward`."""
            ...

    def forward(self, x: Tensor, **tokens: Any) -> tuple[Features, Tensor]:
        """Encode x [B, C, H, W] and apply the head to `pooled`."""
        features = self.encoder(x, **tokens)
        return features, self.head(features.pooled)
