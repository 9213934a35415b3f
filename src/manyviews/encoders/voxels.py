"""A small U-Net over a dense grid of cells, for clouds of points."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor, nn

from manyviews.core import Encoder, Features, Hide
from manyviews.core.inputs import Points
from manyviews.core.ranges import Count, Positive
from manyviews.encoders.maps import begin, refuse_tokens


@dataclass(frozen=True, kw_only=True)
class VoxelsConfig:
    """A U-Net over a grid of cells around each cloud.

    Attributes:
        input: what it is fed.
        side: cells along each axis, a multiple of 2 for each level.
        cell: their length in the input's unit; the default grid holds a unit ball at 1.2 times
            its size. What lies outside counts in the cells at the edge.
        width: channels of the finest level; each coarser one has twice as many.
        depth: levels below the finest.
    """

    input: Points = field(default_factory=Points)
    side: Count = 32
    cell: Positive = 0.075
    width: Count = 16
    depth: Count = 2

    @property
    def name(self) -> str:
        """As everywhere."""
        return "voxels"

    def wrong(self) -> Iterator[tuple[str, object, str]]:
        """A side that cannot be halved so often."""
        if self.side % 2**self.depth:
            yield "side", self.side, f"a multiple of {2**self.depth}, for {self.depth} levels"


class Voxels(Encoder):
    """Points fall into cells, a U-Net of 3x3x3 convolutions runs over all of them.

    A cell is fed whether it has points, how far their mean is from its middle (in cells), and the
    mean of their features; the grid's middle is that of the cloud's bounding box. `tokens` are what
    the finest level has where each point is; `pooled` is the largest value over them. In kind the
    second encoder of DepthContrast and PointContrast (Res16UNet34 of sparse convolutions in cells
    of 5 and 2.5 cm), for clouds so small that empty cells cost little.
    """

    def __init__(self, config: VoxelsConfig) -> None:
        """Build with random weights."""
        super().__init__()
        self.input, self.config = config.input, config
        widths = [config.width * 2**level for level in range(config.depth + 1)]
        self.stem = _block(1 + config.input.shape[1], widths[0])
        self.down = nn.ModuleList(
            nn.Sequential(*_convolution(a, b, size=2, stride=2), _block(b, b))
            for a, b in pairwise(widths)
        )
        self.up = nn.ModuleList(nn.ConvTranspose3d(b, a, 2, 2) for a, b in pairwise(widths))
        self.merge = nn.ModuleList(_block(2 * a, a) for a in widths[:-1])
        self.dim = widths[0] * 4
        self.last = nn.Sequential(*_convolution(widths[0], self.dim, size=1, stride=1))
        self.grid = (config.input.count,)
        begin(self)

    def by_depth(self) -> Sequence[Sequence[nn.Parameter]]:
        """From the stem down, then up again to the last layer."""
        ups = [
            [*up.parameters(), *merge.parameters()]
            for up, merge in zip(self.up, self.merge, strict=True)
        ]
        down = [list(level.parameters()) for level in (self.stem, *self.down)]
        return [*down, *reversed(ups), list(self.last.parameters())]

    def forward(
        self,
        x: Tensor,
        *,
        keep: Tensor | None = None,
        hide: Hide | None = None,
        blocks: int = 0,
        tokens: bool = True,
    ) -> Features:
        """Clouds [B, N, 3 + features] to features.

        Raises:
            Unsupported: keep, hide or blocks was asked for.
        """
        del tokens
        refuse_tokens(keep, hide, blocks, name="Voxels", of="points")
        where, filled = cells(x, side=self.config.side, cell=self.config.cell)
        found = [self.stem(filled)]
        for level in self.down:
            found.append(level(found[-1]))
        last = found.pop()
        for level in range(len(found) - 1, -1, -1):
            last = self.merge[level](torch.cat([self.up[level](last), found[level]], dim=1))
        # The last layer is only wanted where points are.
        there = last.flatten(2).gather(2, where[:, None].expand(-1, last.shape[1], -1))
        made = self.last(there[..., None, None])[..., 0, 0]
        return Features(made.amax(dim=2), made.transpose(1, 2))


def cells(x: Tensor, *, side: int, cell: float) -> tuple[Tensor, Tensor]:
    """Which cell each point is in, [B, N] int64, and what the cells hold, [B, 1 + C, S, S, S].

    Args:
        x: [B, N, C], clouds; the first three columns are places.
        side: S.
        cell: length of a cell.

    Returns:
        Numbers of cells, x first, and of each cell: 1 where a point is, how far their mean is from
        its middle, in cells, and the mean of the other columns. Empty cells are 0.
    """
    xyz = x[..., :3].float()
    middle = (xyz.amax(dim=1, keepdim=True) + xyz.amin(dim=1, keepdim=True)) / 2
    place = (xyz - middle) / cell + side / 2
    at = place.floor().clamp(0, side - 1)
    number = (at * at.new_tensor([side * side, side, 1])).sum(dim=2).long()
    held = torch.cat([torch.ones_like(place[..., :1]), place - at - 0.5, x[..., 3:].float()], dim=2)
    total = held.new_zeros(len(x), side**3, held.shape[2])
    total.scatter_add_(1, number[..., None].expand_as(held), held)
    count = total[..., :1].clamp(min=1)
    filled = torch.cat([(total[..., :1] > 0).float(), total[..., 1:] / count], dim=2)
    return number, filled.transpose(1, 2).unflatten(2, (side,) * 3)


def _block(wide: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        *_convolution(wide, out, size=3, stride=1), *_convolution(out, out, size=3, stride=1)
    )


def _convolution(wide: int, out: int, *, size: int, stride: int) -> list[nn.Module]:
    padding = size // 2 if stride == 1 else 0
    convolution = nn.Conv3d(wide, out, size, stride, padding, bias=False)
    return [convolution, nn.BatchNorm3d(out), nn.ReLU(inplace=True)]
