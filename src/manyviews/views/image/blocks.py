"""Crops with I-JEPA's blocks over the encoder's tokens."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from manyviews.core import UsageError
from manyviews.core.inputs import Input
from manyviews.core.ranges import Count, Positive, Range
from manyviews.core.sample import Layout, Maker
from manyviews.views.draw import Bools, Ints, family, streams, words
from manyviews.views.image.crops import CropMaker
from manyviews.views.plan import Crops

BlockArea = Annotated[float, Range("a share above 0 and up to 1", 0, 1, above=True)]


@dataclass(frozen=True, kw_only=True)
class Blocks(Crops):
    """Crops, and for each what I-JEPA hides: the cues "context" and "targets".

    `context` [N] bool are the tokens that are shown, the same number of every view: those of one
    large block that are in no target, at random where there are more. `targets` [blocks, N] bool
    are rectangles that may overlap. Sizes and places are drawn for each view by itself.

    Attributes:
        blocks: targets of each view.
        target: area of a target as a share of the grid.
        aspect: height over width of a target; drawn together with its area, as by the authors.
        context: area of the large block as a share of the grid.
        shown: tokens of the context as a share of the grid, exact for every view.
    """

    count: Count = 1
    blocks: Count = 4
    target: tuple[BlockArea, BlockArea] = (0.15, 0.2)
    aspect: tuple[Positive, Positive] = (0.75, 1.5)
    context: tuple[BlockArea, BlockArea] = (0.85, 1.0)
    shown: Annotated[float, Range("above 0 and below 1", 0, 1, above=True, below=True)] = 0.3

    def wrong(self) -> Iterator[tuple[str, object, str]]:
        """Pairs out of order."""
        yield from super().wrong()
        for name, (low, high) in (("target", self.target), ("context", self.context)):
            if not 0 < low <= high <= 1:
                yield name, (low, high), "shares with 0 < low <= high <= 1"
        if not 0 < self.aspect[0] <= self.aspect[1] < math.inf:
            yield "aspect", self.aspect, "numbers with 0 < low <= high"

    def maker(self, name: str, input: Input, grid: tuple[int, ...], *, seed: int) -> Maker:
        """What makes the crops and the blocks.

        Raises:
            UsageError: the encoder is not fed images, or has no grid of 2 x 2 tokens or more.
        """
        return BlockMaker(self, name, input, grid, seed=seed)


class BlockMaker(CropMaker):
    """Makes the crops of one family, and the blocks over the encoder's tokens."""

    def __init__(
        self, plan: Blocks, name: str, input: Input, grid: tuple[int, ...], *, seed: int
    ) -> None:
        """Keep the plan; see `Blocks.maker`."""
        super().__init__(plan, name, input, grid, seed=seed)
        if len(grid) != 2 or min(grid) < 2:
            raise UsageError(
                f"The family {name!r} cuts blocks out of rows and columns of tokens, and the "
                f"encoder {plan.to!r} has {grid}. Use a ViT with smaller --encoder.patch."
            )
        self._plan, self._rows, self._columns = plan, grid[0], grid[1]
        tokens, kind = grid[0] * grid[1], np.dtype(np.bool_)
        self.cues = {
            **self.cues,
            "context": Layout(plan.count, (tokens,), kind),
            "targets": Layout(plan.count, (plan.blocks, tokens), kind),
        }

    def masks(self, index: Ints, epoch: int) -> dict[str, NDArray[np.bool_]]:
        """{"context": [B, V, N], "targets": [B, V, M, N]} of a batch, and masks if planned."""
        plan, tokens = self._plan, self._rows * self._columns
        made = super().masks(index, epoch) if plan.mask.ratio else {}
        number = family(f"{self._name}.blocks")
        states = streams(seed=self._seed, epoch=epoch, family=number, index=index, count=plan.count)
        drawn = words(states, np.arange(3 * plan.blocks + 3 + tokens, dtype=np.uint64))
        numbers = (drawn >> np.uint64(11)).astype(np.float64) * 2.0**-53
        context = np.zeros((*states.shape, tokens), dtype=np.bool_)
        targets = np.zeros((*states.shape, plan.blocks, tokens), dtype=np.bool_)
        shown = max(1, int(plan.shown * tokens))
        for at in np.ndindex(states.shape):
            sizes = numbers[at][: 3 * plan.blocks + 3].reshape(-1, 3)
            for block, where in zip(targets[at], sizes, strict=False):
                block[:] = self._block(where, plan.target, plan.aspect)
            taken = targets[at].any(axis=0)
            large = self._block(sizes[-1], plan.context, (1.0, 1.0))
            # First what is in the large block, then what is outside, targets last: the context
            # has its full number even where the targets leave fewer.
            choice = np.lexsort((numbers[at][-tokens:], ~large, taken))
            context[at][choice[:shown]] = True
        return made | {"context": context, "targets": targets}

    def _block(
        self, where: NDArray[np.float64], scale: tuple[float, float], aspect: tuple[float, float]
    ) -> Bools:
        """[N] bool of one rectangle; where: three numbers in [0, 1) for size, top and left.

        Source: facebookresearch/ijepa src/masks/multiblock.py.
        """
        size, top, left = where.tolist()
        area = int(self._rows * self._columns * (scale[0] + size * (scale[1] - scale[0])))
        ratio = aspect[0] + size * (aspect[1] - aspect[0])
        height = min(max(1, round(math.sqrt(area * ratio))), self._rows - 1)
        width = min(max(1, round(math.sqrt(area / ratio))), self._columns - 1)
        first, start = int(top * (self._rows - height + 1)), int(left * (self._columns - width + 1))
        mask = np.zeros((self._rows, self._columns), dtype=np.bool_)
        mask[first : first + height, start : start + width] = True
        return mask.reshape(-1)
