"""A short ResNet for images up to 64 px, small enough to train on a CPU."""

import itertools
import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from manyviews.core import Encoder, Features, Hide, Unsupported
from manyviews.encoders.blocks import by_blocks
from manyviews.encoders.maps import stage
from manyviews.encoders.settings import ResNetSmallConfig


class ResNetSmall(Encoder):
    """Three stages of basic blocks, of w, 2w and 4w channels; the last two halve the side.

    `pooled` is the last map, averaged over grid x grid equal parts and flattened: with a grid of 1
    the global mean, of 4w channels. A finer grid keeps where things are, which helps where all
    images are alike in layout (Fashion-MNIST). `tokens` are the map's places in row-major order,
    always 4w wide, while `dim` is 4w * grid^2. With the defaults one 28x28 image costs about 10
    million multiply-adds.

    Basic blocks: He et al. 2016, "Deep residual learning", figure 2; as in their CIFAR networks
    there are three stages.
    """

    def __init__(
        self,
        *,
        image_size: int,
        channels: int = 3,
        width: int = 32,
        depth: int = 1,
        stride: int = 2,
        grid: int = 1,
        zero_init: bool = True,
    ) -> None:
        """Build with random weights.

        Args:
            image_size: side in pixels, for `grid`; any other size works as well.
            channels: of the input.
            width: channels of the first stage.
            depth: blocks per stage.
            stride: of the first convolution, 1 or 2.
            grid: parts of the map on each side, of which `pooled` keeps the means.
            zero_init: residual branches begin at zero.
        """
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        widths = (width, width, 2 * width, 4 * width)
        self.stages = nn.Sequential(
            *(
                stage(_Block, wide, out, depth=depth, stride=1 if i == 0 else 2)
                for i, (wide, out) in enumerate(itertools.pairwise(widths))
            )
        )
        self.parts = grid
        self.dim = widths[-1] * grid * grid
        side = math.ceil(image_size / (4 * stride))
        self.grid, self.patch = (side, side), (4 * stride, 4 * stride)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if isinstance(module, _Block) and zero_init:
                nn.init.zeros_(module.norm2.weight)

    @classmethod
    def of(cls, config: ResNetSmallConfig) -> "ResNetSmall":
        """Build from settings."""
        return cls(
            image_size=config.input.side,
            channels=config.input.channels,
            width=config.width,
            depth=config.depth,
            stride=1 if config.stem == "small" else 2,
            grid=config.grid,
            zero_init=config.zero_init,
        )

    def by_depth(self) -> Sequence[Sequence[nn.Parameter]]:
        """The stem, then each block."""
        return by_blocks(self.stem, self.stages)

    def forward(
        self,
        x: Tensor,
        *,
        keep: Tensor | None = None,
        hide: Hide | None = None,
        blocks: int = 0,
        tokens: bool = True,
    ) -> Features:
        """Pixels to features; the tokens cost nothing here.

        Raises:
            Unsupported: keep, hide or blocks was asked for.
        """
        del tokens
        if keep is not None or hide is not None or blocks:
            raise Unsupported(
                "The encoder resnet_small has no tokens to keep or hide. Set --encoder.name vit."
            )
        x = self.stages(self.stem(x))
        pooled = (
            x.mean((2, 3)) if self.parts == 1 else F.adaptive_avg_pool2d(x, self.parts).flatten(1)
        )
        return Features(pooled, x.flatten(2).transpose(1, 2))


class _Pointwise(nn.Conv2d):
    """A strided 1x1 convolution that takes its pixels first where there are few channels.

    Of fewer than eight channels that are last in memory, torch 2.14 on some CPUs writes past the
    end of the gradient (seen as a corrupted heap).
    """

    def forward(self, input: Tensor) -> Tensor:
        if self.in_channels >= 8:
            return super().forward(input)
        down, right = self.stride
        return F.conv2d(input[..., ::down, ::right], self.weight)


class _Block(nn.Module):
    """Basic residual block: two 3x3 convolutions, and a 1x1 shortcut where the shape changes."""

    def __init__(self, wide: int, out: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(wide, out, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(out)
        self.shortcut = (
            nn.Identity()
            if stride == 1 and wide == out
            else nn.Sequential(_Pointwise(wide, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x), inplace=True)
