"""Clips with V-JEPA's blocks over the encoder's tokens."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from manyviews.core import UsageError
from manyviews.core.inputs import Input
from manyviews.core.ranges import Count, Positive, Range
from manyviews.core.sample import Layout, Window
from manyviews.views.draw import Bools, family, streams, words
from manyviews.views.video.clips import ClipMaker, Clips, fed_frames

BlockShare = Annotated[float, Range("a share above 0 and up to 1", 0, 1, above=True)]
ShownShare = Annotated[float, Range("above 0 and below 1", 0, 1, above=True, below=True)]


@dataclass(frozen=True, kw_only=True)
class BlockClips(Clips):
    """Clips, and for each what V-JEPA hides: the cues "contexts" and "targets".

    Set m of M: `targets` [M, N] bool are the tokens of a few blocks, rectangles of places at all
    times, that may overlap; `contexts` [M, N] bool are the tokens that are shown with it, the same
    number of every view: others, at random where there are more. Where there are fewer, tokens of
    the blocks make up the number, and are no targets. Shapes and places are drawn for each view.

    The defaults but for `shown` are the authors' (facebookresearch/jepa
    configs/pretrain/vitl16.yaml, src/masks/multiblock3d.py).

    Attributes:
        blocks: of each set.
        area: of a block, as a share of all places.
        aspect: height over width of a block, uniformly; the same for all blocks of a set and view.
        shown: tokens that are shown, as a share of all, exact for every view.
    """

    blocks: tuple[Count, ...] = (8, 2)
    area: tuple[BlockShare, ...] = (0.15, 0.7)
    aspect: tuple[Positive, Positive] = (0.75, 1.5)
    shown: tuple[ShownShare, ...] = (0.2, 0.05)

    def wrong(self) -> Iterator[tuple[str, object, str]]:
        """Sets of unlike number, pairs out of order, and masks as well."""
        yield from super().wrong()
        for name, given in (("area", self.area), ("shown", self.shown)):
            if len(given) != len(self.blocks) or not given:
                yield name, given, f"a number for each of the {len(self.blocks)} sets of blocks"
        if not 0 < self.aspect[0] <= self.aspect[1] < math.inf:
            yield "aspect", self.aspect, "numbers with 0 < low <= high"
        if self.mask.ratio:
            yield "mask.ratio", self.mask.ratio, "0: blocks are hidden instead"

    def alone(self) -> Clips:
        """Clips without blocks, as large as the encoder is fed."""
        own: dict[str, Any] = {name: getattr(self, name) for name in Clips.__dataclass_fields__}
        own["size"] = 0
        return Clips(**own)

    def maker(self, name: str, input: Input, grid: tuple[int, ...], *, seed: int) -> "BlockMaker3D":
        """What makes the clips and the blocks.

        Raises:
            UsageError: the encoder is not fed video, or has no times of 2 x 2 places or more.
        """
        return BlockMaker3D(self, name, input, grid, seed=seed)


class BlockMaker3D(ClipMaker):
    """Makes the clips of one family, and the blocks over the encoder's tokens."""

    def __init__(
        self, plan: BlockClips, name: str, input: Input, grid: tuple[int, ...], *, seed: int
    ) -> None:
        """Keep the plan; see `BlockClips.maker`."""
        super().__init__(plan, name, fed_frames(name, plan.to, input), grid, seed=seed)
        if len(grid) != 3 or min(grid[1:]) < 2:
            raise UsageError(
                f"The family {name!r} cuts blocks out of times, rows and columns of tokens, and "
                f"the encoder {plan.to!r} has {grid}. Use a transformer of tubelets with smaller "
                "--encoder.patch."
            )
        if plan.size not in (0, input.shape[-1]):
            raise UsageError(
                f"Blocks are over the tokens of clips of {input.shape[-1]} pixels, and those of "
                f"{name!r} have {plan.size}. Leave out --views.{name}.size."
            )
        self._plan, self._times, self._places = plan, grid[0], (grid[1], grid[2])
        self._blocks = family(f"{name}.blocks")
        shape = (len(plan.blocks), math.prod(grid))
        layout = Layout(plan.count, shape, np.dtype(np.bool_))
        self.cues: Mapping[str, Layout] = {"contexts": layout, "targets": layout}

    def __call__(
        self,
        decoded: Sequence[NDArray[np.uint8]],
        windows: Sequence[Window],
        index: int,
        epoch: int,
        out: NDArray[np.uint8],
        around: Sequence[Window] = (),
    ) -> Mapping[str, NDArray[Any]]:
        """Fill out [V, T, S, S, 3] with clips; return contexts and targets [V, M, N]."""
        super().__call__(decoded, windows, index, epoch, out, around)
        plan, tokens = self._plan, self._times * math.prod(self._places)
        states = streams(
            seed=self._seed,
            epoch=epoch,
            family=self._blocks,
            index=np.array([index]),
            count=plan.count,
        )[0]
        each = 1 + 2 * max(plan.blocks) + tokens
        slots = np.arange(len(plan.blocks) * each, dtype=np.uint64)
        numbers = (words(states, slots) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        numbers = numbers.reshape(plan.count, len(plan.blocks), each)
        contexts, targets = np.zeros((2, plan.count, len(plan.blocks), tokens), dtype=np.bool_)
        for view in range(plan.count):
            for number, (count, area) in enumerate(zip(plan.blocks, plan.area, strict=True)):
                drawn = numbers[view, number]
                hidden = np.tile(self._union(drawn[: 1 + 2 * count], area), self._times)
                shown = max(1, int(plan.shown[number] * tokens))
                chosen = np.lexsort((drawn[-tokens:], hidden))[:shown]
                contexts[view, number, chosen] = True
                hidden[chosen] = False
                targets[view, number] = hidden
        return {"contexts": contexts, "targets": targets}

    def _union(self, drawn: NDArray[np.float64], area: float) -> Bools:
        """[places] bool of blocks of one shape; drawn: a number for it and two for each place."""
        rows, columns = self._places
        low, high = self._plan.aspect
        aspect = low + float(drawn[0]) * (high - low)
        size = int(rows * columns * area)
        height = min(max(1, round(math.sqrt(size * aspect))), rows)
        width = min(max(1, round(math.sqrt(size / aspect))), columns)
        mask = np.zeros((rows, columns), dtype=np.bool_)
        for top, left in drawn[1:].reshape(-1, 2).tolist():
            first, start = int(top * (rows - height + 1)), int(left * (columns - width + 1))
            mask[first : first + height, start : start + width] = True
        return mask.reshape(-1)
