"""CPC v2. Henaff et al. 2019, arXiv:1905.09272."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from manyviews.core import Batch, Clock, Given, Method, Step, flat
from manyviews.core.ranges import Count, Positive, Range
from manyviews.losses.infomax import predicted_place
from manyviews.parts.context import RowContext

SIDE = 7
"""Patches on a side of the grid."""
TURNS = (0, 2, 1, 3)
"""Quarter turns of the grid, after which a context goes down: from above, below, and the sides."""


@dataclass(frozen=True, kw_only=True)
class CPCConfig:
    """Defaults: the paper's appendix, A.2.

    Attributes:
        directions: from which a context comes: 1 from above (CPC v1), 2 from below too, 4 all.
        skip: rows below a place that are not guessed, as their patches overlap it or are near.
        rows: how many after those are.
        scale: factor on guesses, in place of a temperature.
        hidden: channels of the context's blocks.
        blocks: of the context.
        out: dimensions in which guesses and places are compared.
    """

    directions: Annotated[int, Range("from 1 to 4", 1, 4)] = 4
    skip: Annotated[int, Range("from 0 to 5", 0, SIDE - 2)] = 2
    rows: Annotated[int, Range("from 1 to 6", 1, SIDE - 1)] = 3
    scale: Positive = 0.1
    hidden: Count = 256
    blocks: Count = 5
    out: Count = 64

    def wrong(self) -> list[tuple[str, object, str]]:
        """Rows that the grid does not have."""
        most = SIDE - 1 - self.skip
        if self.rows > most:
            return [("rows", self.rows, f"{most} or fewer, as the grid has {SIDE} rows")]
        return []


class CPC(Method):
    """From the patches so far guess those some rows further on, among all patches of the batch."""

    needs: Mapping[str, int] = {"patches": SIDE**2}
    of_one = ("patches",)
    most: Mapping[str, int] = {"patches": SIDE**2}

    def __init__(self, given: Given, config: CPCConfig) -> None:
        super().__init__(given)
        dim = given.encoder.dim
        self.config, self.backbone = config, given.encoder
        self.contexts = nn.ModuleList(
            RowContext(dim, hidden=config.hidden, blocks=config.blocks)
            for _ in range(config.directions)
        )
        self.guess = nn.ModuleList(
            nn.Linear(dim, config.rows * config.out) for _ in range(config.directions)
        )
        self.place = nn.Linear(dim, config.out)

    def forward(self, batch: Batch, clock: Clock) -> Step:
        """The cross-entropy of each row that is guessed, added; directions are averaged."""
        h = flat(lambda x: self.backbone(x, tokens=False).pooled, batch.views["patches"])
        grid, places = (x.unflatten(1, (SIDE, SIDE)) for x in (h, self.place(h)))
        losses = [
            self._guessed(
                self.guess[d](context(grid.rot90(turns, (1, 2)))), places.rot90(turns, (1, 2))
            )
            for d, (context, turns) in enumerate(zip(self.contexts, TURNS, strict=False))
        ]
        return Step({"places": torch.stack(losses).mean()}, self.embedded(h[:, :2]))

    def _guessed(self, guesses: Tensor, places: Tensor) -> Tensor:
        """From guesses [B, 7, 7, rows * P] made at each place, and places [B, 7, 7, P]."""
        where = torch.arange(SIDE**2, device=places.device).view(SIDE, SIDE)
        losses: list[Tensor] = []
        for k, guess in enumerate(guesses.chunk(self.config.rows, dim=-1)):
            down = self.config.skip + 1 + k
            made = self.config.scale * guess[:, :-down].flatten(1, 2)
            losses.append(predicted_place(made, places.flatten(1, 2), where[down:].flatten()))
        return torch.stack(losses).sum()
