"""Random patch masks with an exact number of hidden patches (He et al. 2021, MAE)."""

import numpy as np
from numpy.typing import NDArray

from manyviews.views.draw import Bools, Ints, streams, words


def hidden(ratio: float, patches: int) -> int:
    """How many of `patches` are hidden: N - floor(N (1 - ratio)), as in MAE's code."""
    # The small addend undoes the rounding of 1 - ratio: 10 * (1 - 0.9) is 0.9999999999999998.
    return patches - int(patches * (1 - ratio) + 1e-9)


def masks(
    *, seed: int, epoch: int, family: int, index: Ints, count: int, patches: int, ratio: float
) -> Bools:
    """[B, V, N] bool, True = hidden; every view hides `hidden(ratio, patches)`, uniformly.

    A pure function of its arguments; view v of a sample does not depend on `count`.
    """
    states = streams(seed=seed, epoch=epoch, family=family, index=index, count=count)
    noise: NDArray[np.uint64] = words(states, np.arange(patches, dtype=np.uint64))
    out = np.zeros(noise.shape, dtype=np.bool_)
    number = hidden(ratio, patches)
    np.put_along_axis(out, np.argsort(noise, axis=-1)[..., :number], True, axis=-1)  # noqa: FBT003 (numpy takes the value by position)
    return out
