"""Slow-only: a ResNet on the frames of a clip that looks at neighbouring ones late."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from torch import Tensor, nn

from manyviews.core import Encoder, Features, Hide
from manyviews.core.inputs import Frames
from manyviews.core.ranges import Count
from manyviews.encoders.blocks import by_blocks
from manyviews.encoders.maps import begin, clip_stem, places, refuse_tokens, stage

_PATCH = (1, 32, 32)
"""Frames and pixels from one place of the last map to the next."""
_BLOCKS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
_OVER_TIME = (1, 1, 3, 3)
"""Frames that the first convolution of a stage's blocks sees."""


@dataclass(frozen=True, kw_only=True)
class SlowConfig:
    """A slow-only network by its input and its size.

    Attributes:
        input: what it is fed; 8 frames, every eighth of 30 a second, is the authors' "8 x 8".
        layers: 10, 18 and 34 have blocks of two 3x3 convolutions, 50 bottlenecks of four times the
            width.
        width: channels of the first stage; each further stage has twice as many. 64 is the
            authors'. On a CPU, 10 layers of width 16 train on clips of 8 frames of 64 pixels.
    """

    input: Frames = field(default_factory=lambda: Frames(frames=8, rate=3.75))
    layers: Literal[10, 18, 34, 50] = 50
    width: Count = 64

    @property
    def name(self) -> str:
        """As everywhere."""
        return "slow"


class Slow(Encoder):
    """The slow pathway of SlowFast by itself: no stride over time, time in the last two stages.

    A 7x7 convolution and a pooling that each halve the frames, then four stages, the last three of
    which halve them again. The first convolution of each block spans 1, 1, 3 and 3 frames in the
    four stages. `pooled` is the mean of the last map; `tokens` are its places: time, then rows,
    then columns. Feichtenhofer et al. 2019, arXiv:1812.03982, table 1; facebookresearch/SlowFast,
    models/video_model_builder.py (`slow`), resnet_helper.py, stem_helper.py.
    """

    def __init__(self, config: SlowConfig) -> None:
        """Build with random weights."""
        super().__init__()
        self.input = config.input
        width = config.width
        self.stem = clip_stem(config.input.channels, width, time=1)
        inner = [width * 2**k for k in range(4)]
        outs = [w * (4 if config.layers == 50 else 1) for w in inner]
        self.stages = nn.Sequential(
            *(
                stage(
                    partial(_Block, inner=inner[k], time=time),
                    wide,
                    out,
                    depth=blocks,
                    stride=2 if k else 1,
                )
                for k, ((wide, out), blocks, time) in enumerate(
                    zip(
                        itertools.pairwise([width, *outs]),
                        _BLOCKS[config.layers],
                        _OVER_TIME,
                        strict=True,
                    )
                )
            )
        )
        self.dim = outs[-1]
        self.patch = _PATCH
        self.grid = places(config.input.shape[1:], _PATCH)
        begin(self)

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
        """Clips [B, C, T, S, S] to features.

        Raises:
            Unsupported: keep, hide or blocks was asked for.
        """
        del tokens
        refuse_tokens(keep, hide, blocks, name="Slow", of="video")
        places = self.stages(self.stem(x)).flatten(2).transpose(1, 2)
        return Features(places.mean(dim=1), places)


class _Block(nn.Module):
    """A residual block, a bottleneck where it goes out wider than it is inside."""

    def __init__(self, wide: int, out: int, *, inner: int, time: int, stride: int) -> None:
        super().__init__()
        if inner == out:
            first = _convolution(wide, out, time=time, size=3, stride=stride)
            layers = [*first, nn.ReLU(inplace=True), *_convolution(out, out, size=3)]
        else:
            layers = [
                *_convolution(wide, inner, time=time),
                nn.ReLU(inplace=True),
                *_convolution(inner, inner, size=3, stride=stride),
                nn.ReLU(inplace=True),
                *_convolution(inner, out),
            ]
        self.convolutions = nn.Sequential(*layers)
        self.shortcut = (
            nn.Identity()
            if stride == 1 and wide == out
            else nn.Sequential(*_convolution(wide, out, stride=stride))
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.convolutions(x) + self.shortcut(x))


def _convolution(
    wide: int, out: int, *, time: int = 1, size: int = 1, stride: int = 1
) -> list[nn.Module]:
    """A convolution over `time` frames and `size` pixels a side, and its norm."""
    kernel, padding = (time, size, size), (time // 2, size // 2, size // 2)
    convolution = nn.Conv3d(wide, out, kernel, (1, stride, stride), padding, bias=False)
    return [convolution, nn.BatchNorm3d(out)]
