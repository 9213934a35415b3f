"""From a map of features back to an image."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class PixelDecoder(nn.Module):
    """Transposed convolutions that double the side, with residual blocks; then pixels.

    What is left of a factor that is no power of two is made by rearranging channels.

    Source: microsoft/unilm beit/modeling_discrete_vae.py (`DiscreteVAE.decoder`).
    """

    def __init__(self, dim: int, *, factor: int, width: int, channels: int) -> None:
        """Build it.

        Args:
            dim: channels of the map.
            factor: pixels from one place of it to the next.
            width: channels in between.
            channels: of the image.
        """
        super().__init__()
        layers: list[nn.Module] = []
        wide = dim
        while factor % 2 == 0:
            double = nn.ConvTranspose2d(wide, width, 4, stride=2, padding=1)
            layers += [nn.Sequential(double, nn.ReLU()), _Residual(width)]
            wide, factor = width, factor // 2
        self.layers = nn.Sequential(*layers)
        self.last = nn.Conv2d(wide, channels * factor**2, 1)
        self.left = factor

    def forward(self, tokens: Tensor, grid: Sequence[int]) -> Tensor:
        """[B, N, D] on a grid of rows and columns -> [B, C, H, W]."""
        maps = tokens.transpose(1, 2).unflatten(2, (grid[0], grid[1]))
        return F.pixel_shuffle(self.last(self.layers(maps)), self.left)


class _Residual(nn.Module):
    """x + two 3x3 convolutions and a 1x1 one of it, with rectifiers between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) + x
