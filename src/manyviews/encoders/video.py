"""R(2+1)D: a residual network on clips whose convolutions are over space, then over time."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from manyviews.core import Encoder, Features, Hide
from manyviews.core.inputs import Frames
from manyviews.core.ranges import Count
from manyviews.encoders.blocks import by_blocks
from manyviews.encoders.maps import begin, clip_stem, features, places, refuse_tokens, stage

_PATCH = (8, 32, 32)
"""Frames and pixels from one place of the last map to the next."""


@dataclass(frozen=True, kw_only=True)
class R2Plus1DConfig:
    """An R(2+1)D network by its input and its size.

    Attributes:
        input: what it is fed; 8 frames at 16 a second is AVID's.
        width: channels of the first of the four stages; each further stage has twice as many.
        depth: blocks of each stage; 2 with a width of 64 is R(2+1)D-18. On a CPU, a width of 16
            and a depth of 1 train on clips of 8 frames of 64 pixels.
    """

    input: Frames = field(default_factory=lambda: Frames(frames=8, rate=16.0))
    width: Count = 64
    depth: Count = 2

    @property
    def name(self) -> str:
        """As everywhere."""
        return "r2plus1d"


class R2Plus1D(Encoder):
    """Four stages of w, 2w, 4w and 8w channels; the last three halve time and space.

    The variant that AVID trains (facebookresearch/AVID-CMA, models/video.py and
    network_blocks.py), which differs from that of Tran et al. 2018 ("A closer look at
    spatiotemporal convolutions for action recognition") in that nothing widens between the
    convolutions over space and over time, that batch norm comes after the sum, that the shortcut
    has none, and that `pooled` is the largest value of the last map, not the mean.

    A clip of 8 frames of 224 pixels becomes maps of 8 x 56 x 56, 4 x 28 x 28, 2 x 14 x 14 and
    1 x 7 x 7. `tokens` are the places of the last one: time, then rows, then columns.
    """

    def __init__(self, config: R2Plus1DConfig) -> None:
        """Build with random weights."""
        super().__init__()
        self.input = config.input
        width = config.width
        self.stem = clip_stem(config.input.channels, width, time=3)
        widths = (width, width, 2 * width, 4 * width, 8 * width)
        self.stages = nn.Sequential(
            *(
                stage(_Block, wide, out, depth=config.depth, stride=1 if i == 0 else 2)
                for i, (wide, out) in enumerate(itertools.pairwise(widths))
            )
        )
        self.dim = widths[-1]
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
        refuse_tokens(keep, hide, blocks, name="R2Plus1D", of="video")
        return features(self.stages(self.stem(x)))


class _Block(nn.Module):
    """Space, time, space, time, and a shortcut: a 1x1x1 convolution where the shape changes."""

    def __init__(self, wide: int, out: int, *, stride: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv3d(wide, out, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False),
            nn.BatchNorm3d(out),
            nn.ReLU(inplace=True),
            nn.Conv3d(out, out, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False),
            nn.BatchNorm3d(out),
            nn.ReLU(inplace=True),
            nn.Conv3d(out, out, (1, 3, 3), 1, (0, 1, 1), bias=False),
            nn.BatchNorm3d(out),
            nn.ReLU(inplace=True),
            nn.Conv3d(out, out, (3, 1, 1), 1, (1, 0, 0), bias=False),
        )
        self.shortcut = (
            nn.Identity()
            if stride == 1 and wide == out
            else nn.Conv3d(wide, out, 1, stride, bias=False)
        )
        self.finish = nn.Sequential(nn.BatchNorm3d(out), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        return self.finish(self.convolutions(x) + self.shortcut(x))
