"""Random patch masks with an exact number of hidden patches (He et al. 2021, MAE)."""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from manyviews.core import UsageError
from manyviews.views.draw import Bools, Ints, Words, streams, words

_TRIES = 64
"""Rectangles that a block mask tries before single patches make up its number."""
_LEAST = 16 / 196
"""The least area of a rectangle as a share of the grid (BEiT: 16 of 14 x 14)."""
_ASPECT = math.log(0.3)
"""Of a rectangle, log-uniform from 0.3 to 1 / 0.3."""


def hidden(ratio: float, patches: int) -> int:
    """How many of `patches` are hidden: N - floor(N (1 - ratio)), as in MAE's code."""
    # The small addend undoes the rounding of 1 - ratio: 10 * (1 - 0.9) is 0.9999999999999998.
    return patches - int(patches * (1 - ratio) + 1e-9)


def masks(
    *,
    seed: int,
    epoch: int,
    family: int,
    index: Ints,
    count: int,
    grid: tuple[int, ...],
    ratio: float,
    kind: Literal["random", "block", "grid"] = "random",
    unit: int = 1,
) -> Bools:
    """[B, V, N] bool, True = hidden, as `views.plan.Mask` says; as many True in every view.

    A pure function of its arguments; view v of a sample does not depend on `count`.

    Raises:
        UsageError: squares of `unit` tokens do not fill the grid, or it is none of rows and
            columns and the kind wants some.
    """
    states = streams(seed=seed, epoch=epoch, family=family, index=index, count=count)
    patches = math.prod(grid)
    if kind == "random" and unit == 1:
        return _uniform(states, hidden(ratio, patches), patches)
    if len(grid) != 2 or any(side % unit for side in grid):
        raise UsageError(
            f"Masks of kind {kind} in squares of {unit} do not fit tokens of {grid}. "
            "Set another --views.global.mask.unit, or kind random."
        )
    rows, columns = grid
    if kind == "block":
        return _blocks(states, hidden(ratio, patches), (rows, columns))
    if kind == "grid":
        every = round((1 - ratio) ** -0.5)
        seen = (np.arange(rows)[:, None] % every == 0) & (np.arange(columns) % every == 0)
        return np.broadcast_to(~seen.reshape(-1), (*states.shape, patches)).copy()
    squares = (rows // unit) * (columns // unit)
    coarse = _uniform(states, hidden(ratio, squares), squares)
    coarse = coarse.reshape(*states.shape, rows // unit, columns // unit)
    return coarse.repeat(unit, axis=-2).repeat(unit, axis=-1).reshape(*states.shape, patches)


def _uniform(states: Words, number: int, patches: int) -> Bools:
    """Exactly `number` of the patches, uniformly."""
    noise: NDArray[np.uint64] = words(states, np.arange(patches, dtype=np.uint64))
    out = np.zeros(noise.shape, dtype=np.bool_)
    np.put_along_axis(out, np.argsort(noise, axis=-1)[..., :number], True, axis=-1)  # noqa: FBT003 (numpy takes the value by position)
    return out


def _blocks(states: Words, number: int, grid: tuple[int, int]) -> Bools:
    """Rectangles until `number` patches are hidden; what no rectangle reaches, patch by patch.

    Source: Bao et al. 2022 (BEiT), algorithm 1; microsoft/unilm beit/masking_generator.py.
    """
    patches = grid[0] * grid[1]
    slots = np.arange(4 * _TRIES, dtype=np.uint64) + np.uint64(patches)
    drawn = (words(states, slots) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    order = np.argsort(words(states, np.arange(patches, dtype=np.uint64)), axis=-1)
    out = np.zeros((*states.shape, patches), dtype=np.bool_)
    for at in np.ndindex(states.shape):
        mask = out[at].reshape(grid)
        for numbers in drawn[at].reshape(_TRIES, 4).tolist():
            left = number - int(mask.sum())
            if not left:
                break
            _rectangle(mask, numbers, left)
        rest = [i for i in order[at] if not out[at][i]]
        out[at][rest[: number - int(mask.sum())]] = True
    return out


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
