"""An encoder and its head, held together so that one EMA can follow both."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from manyviews.core import Encoder, Features, Method, flat
from manyviews.parts.heads import apart


class Branch(nn.Module):
    """An encoder and the head that carries its pooled output into the space of a loss.

    Call: `branch(x, **asked)` -> (Features, [B, P]); what is asked goes to the encoder. Tokens are
    made where `tokens=True` asks for them.
    """

    def __init__(self, encoder: Encoder, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    if TYPE_CHECKING:

        def __call__(self, x: Tensor, **asked: Any) -> tuple[Features, Tensor]:
            """The typed `forward`."""
            ...

    def forward(self, x: Tensor, **asked: Any) -> tuple[Features, Tensor]:
        """Encode x [B, C, H, W] and apply the head to `pooled`."""
        asked.setdefault("tokens", False)
        features = self.encoder(x, **asked)
        return features, self.head(features.pooled)

    def apart(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """Each view by batch statistics of its own, with the numbers of one call for each.

        Args:
            views: [B, V, C, H, W].

        Returns:
            [B, V, D] pooled, and [B, V, P] of the head.
        """
        pooled = torch.stack([self.encoder(view, tokens=False).pooled for view in views.unbind(1)])
        pooled = pooled.transpose(0, 1)
        return pooled, apart(self.head, pooled)


def together(encoder: Encoder, head: nn.Module, views: Tensor) -> tuple[Tensor, Tensor]:
    """All views in one pass, so that batch norms see them at once.

    Args:
        encoder: called without tokens.
        head: applied to `pooled`.
        views: [B, V, C, H, W].

    Returns:
        [B, V, D] pooled, and [B, V, P] of the head.
    """
    pooled = flat(lambda x: encoder(x, tokens=False).pooled, views)
    return pooled, flat(head, pooled)


def of_plain(
    method: Method, body: Encoder, head: nn.Module
) -> Callable[[Mapping[str, Tensor]], Tensor]:
    """What `EmbedAll` may call: plain views to [B, P] of the head, by running statistics.

    Args:
        method: with one encoder.
        body: that encoder, called without tokens.
        head: applied to `pooled`.
    """

    @torch.no_grad()
    def embed(views: Mapping[str, Tensor]) -> Tensor:
        with evaluating(method):
            return head(body(views[next(iter(method.encoders))], tokens=False).pooled)

    return embed


@contextmanager
def evaluating(method: nn.Module) -> Generator[None]:
    """Evaluation mode for a while: batch norms use running statistics and wait for no other rank.

    Every module then goes back to the mode that it was in.
    """
    modes = [(module, module.training) for module in method.modules()]
    method.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
