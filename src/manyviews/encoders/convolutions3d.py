"""Two early networks on clips, C3D and S3D-G, by a width: narrow ones train on a CPU."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from manyviews.core import Encoder, Features, Hide
from manyviews.core.inputs import Frames
from manyviews.core.ranges import Count
from manyviews.encoders.maps import begin, places, refuse_tokens

_C3D = ((1,), (2,), (4, 4), (8, 8), (8, 8))
"""Channels of the convolutions of each stage, in units of `width`."""
_S3DG = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)
"""Inception's channels, stage by stage and block by block: of its first branch; within and at the
end of the second, and of the third; of the one behind the pooling. For a `width` of 64."""


@dataclass(frozen=True, kw_only=True)
class C3DConfig:
    """C3D with batch norms, by its input and its width.

    Attributes:
        input: what it is fed; 16 frames of 112 pixels are the authors'.
        width: channels of the first convolution; 64 is the authors'.
    """

    input: Frames = field(default_factory=lambda: Frames(side=112, frames=16, rate=25.0))
    width: Count = 64

    @property
    def name(self) -> str:
        """As everywhere."""
        return "c3d"


@dataclass(frozen=True, kw_only=True)
class S3DGConfig:
    """S3D-G, an Inception network of separated convolutions with gates, by its input and width.

    Attributes:
        input: what it is fed; 64 frames at 25 a second are the authors'.
        width: channels of the first convolution, all others in proportion; 64 is the authors'.
    """

    input: Frames = field(default_factory=lambda: Frames(frames=64, rate=25.0))
    width: Count = 64

    @property
    def name(self) -> str:
        """As everywhere."""
        return "s3dg"


class _Stages(Encoder):
    """Stages of convolutions; `pooled` is the mean of the last map, `tokens` are its places."""

    stages: nn.Sequential

    def by_depth(self) -> Sequence[Sequence[nn.Parameter]]:
        """The stages, one by one."""
        return [list(stage.parameters()) for stage in self.stages]

    def forward(
        self,
        x: Tensor,
        *,
        keep: Tensor | None = None,
        hide: Hide | None = None,
        blocks: int = 0,
        tokens: bool = True,
    ) -> Features:
        """Clips [B, C, T, S, S] to features.

        Raises:
            Unsupported: keep, hide or blocks was asked for.
        """
        del tokens
        refuse_tokens(keep, hide, blocks, name=type(self).__name__, of="video")
        found = self.stages(x).flatten(2).transpose(1, 2)
        return Features(found.mean(dim=1), found)


class C3D(_Stages):
    """Eight 3x3x3 convolutions in five stages with poolings between them.

    The first pooling halves space, the others time and space. Tran et al. 2015, arXiv:1412.0767,
    section 3.1, without its fully connected layers and with batch norms, as
    xudejing/video-clip-order-prediction models/c3d.py.
    """

    def __init__(self, config: C3DConfig) -> None:
        """Build with random weights."""
        super().__init__()
        self.input = config.input
        wide, stages = config.input.channels, list[nn.Module]()
        for number, counts in enumerate(_C3D):
            layers: list[nn.Module] = []
            if number:
                step = (1 if number == 1 else 2, 2, 2)
                layers.append(nn.MaxPool3d(step, step, ceil_mode=True))
            for count in counts:
                layers += _convolution(wide, count * config.width, (3, 3, 3))
                wide = count * config.width
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)
        self.dim = wide
        self.patch = (8, 16, 16)
        self.grid = places(config.input.shape[1:], self.patch)
        begin(self)


class S3DG(_Stages):
    """Inception whose 3x3x3 convolutions are 1x3x3 and then 3x1x1, with a gate on each block.

    A gate multiplies each channel by the sigmoid of a linear map of all channels' means. Xie et al.
    2018, arXiv:1712.04851, figure 7 and section 5.4; kylemin/S3D model.py has its channels.
    """

    def __init__(self, config: S3DGConfig) -> None:
        """Build with random weights."""
        super().__init__()
        self.input, unit = config.input, config.width
        stages: list[nn.Module] = [
            nn.Sequential(
                *_separated(config.input.channels, unit, 7, stride=2),
                nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
                *_convolution(unit, unit, (1, 1, 1)),
                *_separated(unit, 3 * unit, 3),
            )
        ]
        wide = 3 * unit
        for number, blocks in enumerate(_S3DG):
            if number == 0:
                layers: list[nn.Module] = [nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))]
            elif number == 1:
                layers = [nn.MaxPool3d(3, 2, 1)]
            else:
                layers = [nn.MaxPool3d(2, 2, ceil_mode=True)]
            for block in blocks:
                inception = _Inception(wide, [max(1, n * unit // 64) for n in block])
                layers.append(inception)
                wide = inception.out
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)
        self.dim = wide
        self.patch = (8, 32, 32)
        self.grid = places(config.input.shape[1:], self.patch)
        begin(self)


class _Inception(nn.Module):
    """Four branches side by side, each gated."""

    def __init__(self, wide: int, counts: Sequence[int]) -> None:
        super().__init__()
        one, two, second, three, third, pooled = counts
        self.out = one + second + third + pooled
        branches = (
            _convolution(wide, one, (1, 1, 1)),
            [*_convolution(wide, two, (1, 1, 1)), *_separated(two, second, 3)],
            [*_convolution(wide, three, (1, 1, 1)), *_separated(three, third, 3)],
            [nn.MaxPool3d(3, 1, 1), *_convolution(wide, pooled, (1, 1, 1))],
        )
        ends = (one, second, third, pooled)
        self.branches = nn.ModuleList(
            nn.Sequential(*layers, _Gate(end)) for layers, end in zip(branches, ends, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class _Gate(nn.Module):
    def __init__(self, count: int) -> None:
        super().__init__()
        self.weigh = nn.Linear(count, count)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weigh(x.mean(dim=(2, 3, 4))).sigmoid()[:, :, None, None, None]


def _separated(wide: int, out: int, size: int, *, stride: int = 1) -> list[nn.Module]:
    """A convolution over space, then one over time."""
    return [
        *_convolution(wide, out, (1, size, size), (1, stride, stride)),
        *_convolution(out, out, (size, 1, 1), (stride, 1, 1)),
    ]


def _convolution(
    wide: int, out: int, size: tuple[int, int, int], stride: tuple[int, int, int] = (1, 1, 1)
) -> list[nn.Module]:
    around = (size[0] // 2, size[1] // 2, size[2] // 2)
    convolution = nn.Conv3d(wide, out, size, stride, around, bias=False)
    return [convolution, nn.BatchNorm3d(out), nn.ReLU(inplace=True)]
