"""An encoder with the normalisation inside, so that whoever runs it need not know mean and std."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from manyviews.core import UsageError
from manyviews.core.inputs import Frames, Pixels
from manyviews.runs.embedder import Embedder


class FromPixels(nn.Module):
    """Pixels in [0, 1], [B, C, S, S] or of clips [B, C, T, S, S] -> embeddings [B, D].

    Args:
        embedder: of images or video.

    Raises:
        UsageError: it is fed something else.
    """

    def __init__(self, embedder: Embedder) -> None:
        super().__init__()
        fed = embedder.input
        if not isinstance(fed, Pixels | Frames):
            raise UsageError(
                f"--normalise is for pixels, and {embedder.config.name} is fed "
                f"{type(fed).__name__}. Leave it out."
            )
        self.embedder = embedder
        self.input = fed
        self.mean: Tensor
        self.std: Tensor
        places = (fed.channels, *[1] * (len(fed.shape) - 1))
        self.register_buffer("mean", _each(fed.mean, fed.channels).reshape(places))
        self.register_buffer("std", _each(fed.std, fed.channels).reshape(places))
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Normalise and embed."""
        return self.embedder((x - self.mean) / self.std)


def _each(values: Sequence[float], channels: int) -> Tensor:
    """One number for each channel, where one may stand for all."""
    return torch.tensor(values).expand(channels).clone()
