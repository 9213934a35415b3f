"""A plain convolutional network on log-mel spectrograms."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from manyviews.core import Encoder, Features, Hide
from manyviews.core.inputs import LogMel
from manyviews.core.ranges import Count
from manyviews.encoders.maps import begin, features, places, refuse_tokens

_PATCH = (16, 16)
"""Frames and bands from one place of the last map to the next."""


@dataclass(frozen=True, kw_only=True)
class AudioConvConfig:
    """A convolutional network by its input and its size.

    Attributes:
        input: what it is fed.
        width: channels of the stem and the first of the four blocks; each further block has twice
            as many. 64 is AVID's.
        depth: convolutions of each block; 2 is AVID's.
    """

    input: LogMel = field(default_factory=LogMel)
    width: Count = 64
    depth: Count = 2

    @property
    def name(self) -> str:
        """As everywhere."""
        return "audio_conv"


class AudioConv(Encoder):
    """A 7x7 convolution, then four blocks of 3x3 convolutions of w, 2w, 4w and 8w channels.

    The stem and the first three blocks halve time and frequency. There are no shortcuts; batch norm
    and ReLU follow each convolution; `pooled` is the largest value of the last map. In kind AVID's
    (facebookresearch/AVID-CMA, models/audio.py), which is fed 257 bands of a linear spectrogram at
    24 kHz where this one is fed log-mel bands. `tokens` are the places of the last map, time first.
    """

    def __init__(self, config: AudioConvConfig) -> None:
        """Build with random weights."""
        super().__init__()
        self.input = config.input
        width = config.width
        layers = _convolution(1, width, size=7, stride=2)
        wide = width
        for block, out in enumerate((width, 2 * width, 4 * width, 8 * width)):
            for k in range(config.depth):
                stride = 2 if k == 0 and block < 3 else 1
                layers += _convolution(wide, out, size=3, stride=stride)
                wide = out
        self.layers = nn.Sequential(*layers)
        self.dim = wide
        self.patch = _PATCH
        self.grid = places(config.input.shape[1:], _PATCH)
        begin(self)

    def by_depth(self) -> Sequence[Sequence[nn.Parameter]]:
        """Each convolution with its norm."""
        return [
            [*convolution.parameters(), *norm.parameters()]
            for convolution, norm in zip(self.layers[::3], self.layers[1::3], strict=True)
        ]

    def forward(
        self,
        x: Tensor,
        *,
        keep: Tensor | None = None,
        hide: Hide | None = None,
        blocks: int = 0,
        tokens: bool = True,
    ) -> Features:
        """Spectrograms [B, 1, F, bins] to features.

        Raises:
            Unsupported: keep, hide or blocks was asked for.
        """
        del tokens
        refuse_tokens(keep, hide, blocks, name="AudioConv", of="sound")
        return features(self.layers(x))


def _convolution(wide: int, out: int, *, size: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(wide, out, size, stride, size // 2, bias=False)
    return [convolution, nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
