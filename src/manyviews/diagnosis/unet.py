"""A small U-Net that takes noise off thumbnails, told what an encoder knows of them."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 8
_PERIOD = 10_000.0


class Denoiser(nn.Module):
    """Noisy images, times and features to the velocity of the noise.

    Features are added to the embedding of time, which scales and shifts every block's norm, as in
    RCDM's code (its paper conditions batch norms). No attention: images are thumbnails.

    Source: Dhariwal and Nichol 2021 (2105.05233); Bordes et al. 2022 (2112.09164),
    facebookresearch/RCDM@71daaf1 guided_diffusion_rcdm/unet.py.
    """

    def __init__(
        self, channels: int, dim: int, *, width: int = 32, widths: Sequence[int] = (1, 2, 2)
    ) -> None:
        """Build it.

        Args:
            channels: of images.
            dim: of features.
            width: channels of the first level; a multiple of 8.
            widths: of each level, in units of `width`; each but the first halves the image, whose
                side they have to divide.
        """
        super().__init__()
        self.width = width
        inner = 4 * width
        self.time = nn.Sequential(nn.Linear(width, inner), nn.SiLU(), nn.Linear(inner, inner))
        self.known = nn.Linear(dim, inner)
        self.unknown = nn.Parameter(torch.zeros(inner))
        sizes = [width * times for times in widths]
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        self.down = nn.ModuleList(
            _Block(before, size, inner)
            for before, size in zip([width, *sizes], sizes, strict=False)
        )
        self.middle = _Block(sizes[-1], sizes[-1], inner)
        backwards = sizes[::-1]
        self.up = nn.ModuleList(
            _Block(before + size, size, inner)
            for before, size in zip([sizes[-1], *backwards], backwards, strict=False)
        )
        self.norm = nn.GroupNorm(GROUPS, width)
        self.out = _zero(nn.Conv2d(width, channels, 3, padding=1))

    def forward(self, x: Tensor, time: Tensor, features: Tensor, told: Tensor) -> Tensor:
        """One step.

        Args:
            x: [B, C, S, S] noisy.
            time: [B] in [0, 1], 1 for noise alone.
            features: [B, D].
            told: [B] bool, whether it is told the features.

        Returns:
            [B, C, S, S].
        """
        known = torch.where(told[:, None], self.known(features), self.unknown)
        e = F.silu(self.time(_waves(time, self.width)) + known)
        h, kept = self.stem(x), list[Tensor]()
        for level, block in enumerate(self.down):
            h = block(F.avg_pool2d(h, 2) if level else h, e)
            kept.append(h)
        h = self.middle(h, e)
        for level, block in enumerate(self.up):
            h = F.interpolate(h, scale_factor=2.0, mode="nearest") if level else h
            h = block(torch.cat([h, kept.pop()], dim=1), e)
        return self.out(F.silu(self.norm(h)))


class _Block(nn.Module):
    """Two convolutions beside a skip; the second's norm is scaled and shifted by the embedding."""

    def __init__(self, before: int, after: int, inner: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.GroupNorm(GROUPS, before), nn.SiLU(), nn.Conv2d(before, after, 3, padding=1)
        )
        self.told = nn.Linear(inner, 2 * after)
        self.norm = nn.GroupNorm(GROUPS, after)
        self.second = _zero(nn.Conv2d(after, after, 3, padding=1))
        self.skip = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        scale, shift = self.told(e)[:, :, None, None].chunk(2, dim=1)
        h = self.norm(self.first(x)) * (1 + scale) + shift
        return self.skip(x) + self.second(F.silu(h))


def _waves(time: Tensor, width: int) -> Tensor:
    """[B, width]: cosines, then sines, of 1000 * time at falling frequencies."""
    half = width // 2
    steps = torch.arange(half, device=time.device) / half
    angles = 1000 * time[:, None] * torch.exp(-math.log(_PERIOD) * steps)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    """Begins as nothing, so that an untrained block is its skip."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
