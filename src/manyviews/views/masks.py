"""Random patch masks with an exact number of hidden patches (He et al. 2021, MAE)."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from manyviews.core import UsageError
from manyviews.core.sample import Layout
from manyviews.views.draw import Bools, Ints, Words, family, streams, unit, words
from manyviews.views.plan import Mask, MaskKind

_TRIES = 64
"""Rectangles that a block mask tries before single patches make up its number."""
_LEAST = 16 / 196
"""The least area of a rectangle as a share of the grid (BEiT: 16 of 14 x 14)."""
_ASPECT = math.log(0.3)
"""Of a rectangle, log-uniform from 0.3 to 1 / 0.3."""
_SHOWN = math.log(2)
"""Of the rectangle that alone is seen, log-uniform from 1 / 2 to 2 (CAPI)."""


def hidden(ratio: float, patches: int) -> int:
    """How many of `patches` are hidden: N - floor(N (1 - ratio)), as in MAE's code."""
    # The small addend undoes the rounding of 1 - ratio: 10 * (1 - 0.9) is 0.9999999999999998.
    return patches - int(patches * (1 - ratio) + 1e-9)


class Masks:
    """Masks over an encoder's tokens for the views of one family.

    Attributes:
        cues: the layout of the cue "mask", or nothing where none is to be hidden.
    """

    def __init__(
        self, mask: Mask, name: str, grid: tuple[int, ...], *, count: int, seed: int
    ) -> None:
        """Keep the plan.

        Args:
            mask: what is hidden.
            name: of the family.
            grid: the encoder's tokens.
            count: views of a sample.
            seed: of the run.
        """
        self._mask, self._grid, self._count, self._seed = mask, grid, count, seed
        self._family = family(f"{name}.mask")
        known = {"mask": Layout(count, (math.prod(grid),), np.dtype(np.bool_))}
        self.cues: Mapping[str, Layout] = known if mask.ratio else {}

    def __call__(self, index: Ints, epoch: int) -> dict[str, Bools]:
        """{"mask": [B, V, N]} of samples index [B], or nothing."""
        if not self.cues:
            return {}
        made = masks(
            seed=self._seed,
            epoch=epoch,
            family=self._family,
            index=index,
            count=self._count,
            grid=self._grid,
            ratio=self._mask.ratio,
            kind=self._mask.kind,
            unit=self._mask.unit,
        )
        return {"mask": made}


def fits_masks(name: str, mask: Mask, *, side: int, fed: int) -> None:
    """Hold the size of a family's views against that of the encoder whose tokens are hidden.

    Raises:
        UsageError: there are masks, and it is another.
    """
    if mask.ratio and side != fed:
        raise UsageError(
            f"Masks are over the tokens of views of {fed} pixels, and those of {name!r} have "
            f"{side}. Leave out --views.{name}.size or --views.{name}.mask.ratio."
        )


def masks(
    *,
    seed: int,
    epoch: int,
    family: int,
    index: Ints,
    count: int,
    grid: tuple[int, ...],
    ratio: float,
    kind: MaskKind = "random",
    unit: int = 1,
) -> Bools:
    """[B, V, N] bool, True = hidden, as `views.plan.Mask` says; as many True in every view.

    A pure function of its arguments; view v of a sample does not depend on `count`.

    Raises:
        UsageError: squares of `unit` tokens do not fill the grid, or it is none of rows and
            columns, or of times, rows and columns, where the kind wants that.
    """
    states = streams(seed=seed, epoch=epoch, family=family, index=index, count=count)
    patches = math.prod(grid)
    if kind == "random" and unit == 1:
        return uniform(states, _each(states, hidden(ratio, patches)), patches)
    if kind == "tube" and len(grid) == 3:
        times, places = grid[0], math.prod(grid[1:])
        return np.tile(uniform(states, _each(states, hidden(ratio, places)), places), times)
    if kind in ("future", "between") and len(grid) == 3:
        return in_a_row(states, hidden(ratio, grid[0]), grid, last=kind == "future")
    of_clips = kind in ("tube", "future", "between")
    if len(grid) != 2 or of_clips or any(side % unit for side in grid):
        raise UsageError(
            f"Masks of kind {kind} in squares of {unit} do not fit tokens of {grid}. "
            "Set another --views.global.mask.unit, or kind random."
        )
    rows, columns = grid
    if kind in ("time", "band", "time-band"):
        return crossed(states, _seen(kind, ratio, (rows, columns)), (rows, columns))
    if kind == "block":
        return blocks(states, _each(states, hidden(ratio, patches)), (rows, columns))
    if kind == "around":
        return around(states, hidden(ratio, patches), (rows, columns))
    if kind == "grid":
        every = round((1 - ratio) ** -0.5)
        seen = (np.arange(rows)[:, None] % every == 0) & (np.arange(columns) % every == 0)
        return np.broadcast_to(~seen.reshape(-1), (*states.shape, patches)).copy()
    squares = (rows // unit) * (columns // unit)
    coarse = uniform(states, _each(states, hidden(ratio, squares)), squares)
    coarse = coarse.reshape(*states.shape, rows // unit, columns // unit)
    return coarse.repeat(unit, axis=-2).repeat(unit, axis=-1).reshape(*states.shape, patches)


def _each(states: Words, number: int) -> Ints:
    """The same number for every view."""
    return np.full(states.shape, number, dtype=np.int64)


def uniform(states: Words, numbers: Ints, patches: int) -> Bools:
    """Exactly `numbers` [B, V] of the patches, uniformly: [B, V, N] bool."""
    noise: NDArray[np.uint64] = words(states, np.arange(patches, dtype=np.uint64))
    chosen = np.arange(patches) < numbers[..., None]
    out = np.zeros(noise.shape, dtype=np.bool_)
    np.put_along_axis(out, np.argsort(noise, axis=-1), chosen, axis=-1)
    return out


def in_a_row(states: Words, number: int, grid: tuple[int, ...], *, last: bool) -> Bools:
    """So many times in a row are hidden, the last ones or any but the first and the last.

    Raises:
        UsageError: they leave no time to be seen, or none at either end.
    """
    times, places = grid[0], math.prod(grid[1:])
    ends = 1 if last else 2
    if not 0 < number <= times - ends:
        raise UsageError(
            f"{number} of {times} times were to be hidden, and {ends} of them at least have to be "
            "seen. Set another --views.global.mask.ratio, or more frames."
        )
    free = times - number - 1
    drawn = unit(states, times) * free
    first = np.full(states.shape, free + 1) if last else 1 + drawn.astype(np.int64)
    row = np.arange(times)
    out = (row >= first[..., None]) & (row < first[..., None] + number)
    return np.repeat(out, places, axis=-1)


def _seen(kind: MaskKind, ratio: float, grid: tuple[int, int]) -> tuple[int, int]:
    """How many rows and columns are seen, at least one of each."""
    rows, columns = grid
    if kind == "time-band":
        rows = max(1, round(math.sqrt(1 - ratio) * rows))
        columns = round((1 - ratio) * grid[0] * columns / rows)
    elif kind == "time":
        rows -= hidden(ratio, rows)
    else:
        columns -= hidden(ratio, columns)
    return max(1, rows), min(max(1, columns), grid[1])


def crossed(states: Words, seen: tuple[int, int], grid: tuple[int, int]) -> Bools:
    """Whole rows and whole columns are hidden, so that `seen` of either are not: [B, V, N] bool.

    Source: facebookresearch/AudioMAE models_mae.py, random_masking_2d.
    """
    rows, columns = grid
    row_order = np.argsort(words(states, np.arange(rows, dtype=np.uint64)), axis=-1)
    slots = np.arange(columns, dtype=np.uint64) + np.uint64(rows)
    column_order = np.argsort(words(states, slots), axis=-1)
    out = np.ones((*states.shape, rows, columns), dtype=np.bool_)
    shown = np.argsort(row_order, axis=-1)[..., :, None] < seen[0]
    shown = shown & (np.argsort(column_order, axis=-1)[..., None, :] < seen[1])
    out[shown] = False
    return out.reshape(*states.shape, rows * columns)


def blocks(states: Words, numbers: Ints, grid: tuple[int, int]) -> Bools:
    """Rectangles until `numbers` [B, V] of the patches are hidden: [B, V, N] bool.

    What no rectangle reaches is made up by single patches.

    Source: Bao et al. 2022 (BEiT), algorithm 1; microsoft/unilm beit/masking_generator.py.
    """
    patches = grid[0] * grid[1]
    slots = np.arange(4 * _TRIES, dtype=np.uint64) + np.uint64(patches)
    drawn = (words(states, slots) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    order = np.argsort(words(states, np.arange(patches, dtype=np.uint64)), axis=-1)
    out = np.zeros((*states.shape, patches), dtype=np.bool_)
    for at in np.ndindex(states.shape):
        mask, number = out[at].reshape(grid), int(numbers[at])
        for four in drawn[at].reshape(_TRIES, 4).tolist():
            left = number - int(mask.sum())
            if not left:
                break
            _rectangle(mask, four, left)
        rest = [i for i in order[at] if not out[at][i]]
        out[at][rest[: number - int(mask.sum())]] = True
    return out


def around(states: Words, number: int, grid: tuple[int, int]) -> Bools:
    """All but one rectangle is hidden, exactly `number` of the patches: [B, V, N] bool.

    It is as large as what is seen or a little larger, which its last places are then cut off of;
    it begins anywhere, and goes on at the other side where it leaves the grid.

    Source: Darcet et al. 2025 (CAPI), section 3.3; facebookresearch/capi data.py, BlockMasking.
    """
    rows, columns = grid
    seen = rows * columns - number
    tall, wide = math.log(rows**2 / max(1, seen)), math.log(max(1, seen) / columns**2)
    low, high = (min(max(end, wide), tall) for end in (-_SHOWN, _SHOWN))
    aspect = np.exp(low + (high - low) * unit(states, 0))[..., None, None]
    height = np.minimum(np.ceil(np.sqrt(seen * aspect)), rows)
    width = np.minimum(np.ceil(np.sqrt(seen / aspect)), columns)
    top, start = ((unit(states, k) * n).astype(np.int64) for k, n in ((1, rows), (2, columns)))
    down = (np.arange(rows)[:, None] - top[..., None, None]) % rows
    right = (np.arange(columns) - start[..., None, None]) % columns
    shown = (down < height) & (right < width) & (down * width + right < seen)
    return ~shown.reshape(*states.shape, rows * columns)


def _rectangle(mask: Bools, numbers: list[float], left: int) -> None:
    """Hide one rectangle in place, if it fits and hides no more than `left` new patches."""
    rows, columns = mask.shape
    low = min(left, max(1.0, _LEAST * mask.size))
    area = low + (left - low) * numbers[0]
    aspect = math.exp(_ASPECT * (1 - 2 * numbers[1]))
    height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
    if not (0 < height < rows and 0 < width < columns):
        return
    top = int(numbers[2] * (rows - height + 1))
    start = int(numbers[3] * (columns - width + 1))
    window = mask[top : top + height, start : start + width]
    if 0 < window.size - int(window.sum()) <= left:
        window[:] = True
