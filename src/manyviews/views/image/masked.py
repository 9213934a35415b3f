"""Crops of which some are masked, each by a share of its own."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from manyviews.core import UsageError
from manyviews.core.inputs import Input
from manyviews.core.ranges import Probability, Share
from manyviews.core.sample import Maker
from manyviews.views.draw import Ints, family, streams, unit
from manyviews.views.image.crops import CropMaker
from manyviews.views.masks import blocks, uniform
from manyviews.views.plan import Crops, Mask


@dataclass(frozen=True, kw_only=True)
class Masked(Crops):
    """Crops whose cue "mask" hides tokens of some of them, a number drawn for each by itself.

    `mask.ratio` is the most that is hidden, and `mask.kind` where: "random" tokens or BEiT's
    rectangles ("block"). The share is drawn uniformly, and exact.

    Attributes:
        least: the least that a masked crop hides, as a share of its tokens.
        masked: probability that a crop is masked at all.
    """

    mask: Mask = field(default_factory=lambda: Mask(ratio=0.5, kind="block"))
    least: Share = 0.1
    masked: Probability = 0.5

    def wrong(self) -> Iterator[tuple[str, object, str]]:
        """Shares out of order, and masks of kinds that have one size."""
        yield from super().wrong()
        if not self.least <= self.mask.ratio:
            yield "least", self.least, f"up to {self.mask.ratio:g}, the mask's ratio"
        if self.mask.kind not in ("random", "block") or self.mask.unit > 1:
            yield "mask", self.mask, "of kind random or block and of unit 1, as its sizes differ"

    def maker(self, name: str, input: Input, grid: tuple[int, ...], *, seed: int) -> Maker:
        """What makes the crops and the masks.

        Raises:
            UsageError: the encoder is not fed images, or has no grid for blocks.
        """
        return MaskedMaker(self, name, input, grid, seed=seed)


class MaskedMaker(CropMaker):
    """Makes the crops of one family, and masks of several sizes over the encoder's tokens."""

    def __init__(
        self, plan: Masked, name: str, input: Input, grid: tuple[int, ...], *, seed: int
    ) -> None:
        """Keep the plan; see `Masked.maker`."""
        super().__init__(plan, name, input, grid, seed=seed)
        if len(grid) != 2 and plan.mask.kind == "block":
            raise UsageError(
                f"The family {name!r} hides blocks of rows and columns of tokens, and the encoder "
                f"{plan.to!r} has {grid}. Use a ViT, or set --views.{name}.mask.kind random."
            )
        self._plan, self._grid = plan, grid

    def masks(self, index: Ints, epoch: int) -> dict[str, NDArray[np.bool_]]:
        """{"mask": [B, V, N]} of a batch, or nothing."""
        if not self.cues:
            return {}
        plan, tokens = self._plan, math.prod(self._grid)
        sizes, states = (
            streams(
                seed=self._seed,
                epoch=epoch,
                family=family(f"{self._name}.{what}"),
                index=index,
                count=plan.count,
            )
            for what in ("masked", "mask")
        )
        share = plan.least + (plan.mask.ratio - plan.least) * unit(sizes, 1)
        chosen = unit(sizes, 0) < plan.masked
        numbers = np.where(chosen, share * tokens, 0).astype(np.int64)
        if plan.mask.kind == "random":
            return {"mask": uniform(states, numbers, tokens)}
        return {"mask": blocks(states, numbers, (self._grid[0], self._grid[1]))}


def masked(crops: Crops) -> Masked:
    """The same crops, half of them masked in blocks of a tenth to a half of their tokens."""
    return Masked(**{f.name: getattr(crops, f.name) for f in fields(Crops) if f.name != "mask"})
