"""Sound and pictures put together while both still have time and place."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class EarlyFusion(nn.Module):
    """A network on the map of a clip, at every place of which lies the sound of its time.

    The sound's map is averaged over its bands, brought to as many times as the clip's has by linear
    interpolation, and laid beside every place. Two 1x1x1 convolutions with a shortcut merge both,
    then come blocks of two 3x3x3 convolutions; batch norm follows the sum of a block and its
    shortcut.

    Source: Owens and Efros 2018, section 3 and figure 2; andrewowens/multisensory src/shift_net.py.
    """

    def __init__(
        self,
        widths: tuple[int, int],
        grids: tuple[Sequence[int], Sequence[int]],
        *,
        width: int,
        depth: int,
    ) -> None:
        """Build it.

        Args:
            widths: channels of the clip's map, and of the sound's.
            grids: their places: the clip's (times, rows, columns), or without times, which are one
                then; the sound's (times, bands).
            width: channels.
            depth: blocks after both are merged.
        """
        super().__init__()
        clip, sound = grids
        self.clip = (1,) * (3 - len(clip)) + tuple(clip)
        self.sound = (sound[0], math.prod(sound[1:]))
        both = sum(widths)
        self.merge = nn.Sequential(
            _convolution(both, 4 * width, 1), nn.BatchNorm3d(4 * width), nn.ReLU(),
            _convolution(4 * width, width, 1),
        )  # fmt: skip
        self.short = _convolution(both, width, 1)
        self.merged = nn.BatchNorm3d(width)
        self.blocks = nn.Sequential(*(_Block(width) for _ in range(depth)))
        self.answer = nn.Linear(width, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, clip: Tensor, sound: Tensor) -> Tensor:
        """Tokens of clips [B, N, D] and of sounds [B, M, E] -> [B] logits."""
        seen = clip.transpose(1, 2).unflatten(2, self.clip)
        heard = sound.transpose(1, 2).unflatten(2, self.sound).mean(dim=3)
        if heard.shape[2] != self.clip[0]:
            heard = F.interpolate(heard, self.clip[0], mode="linear")
        laid = heard[..., None, None].expand(-1, -1, *self.clip)
        x = torch.cat([seen, laid], dim=1)
        x = F.relu(self.merged(self.merge(x) + self.short(x)))
        return self.answer(self.blocks(x).mean(dim=(2, 3, 4)))[:, 0]


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(width, width, 3), nn.BatchNorm3d(width), nn.ReLU(),
            _convolution(width, width, 3),
        )  # fmt: skip
        self.norm = nn.BatchNorm3d(width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(x + self.body(x)))


def _convolution(wide: int, out: int, size: int) -> nn.Conv3d:
    return nn.Conv3d(wide, out, size, padding=size // 2, bias=False)
