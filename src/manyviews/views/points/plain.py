"""The clouds of evaluation: always the same points, nothing random."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyviews.core import UsageError
from manyviews.core.inputs import Input, Points
from manyviews.core.sample import WHOLE, Layout, Window

PointRows = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class PlainClouds:
    """The whole cloud, by as many of its points as the encoder is fed.

    Attributes:
        to: the encoder.
        of: the stream.
    """

    to: str
    of: str = "points"
    count: int = 1
    around: str = ""

    def maker(self, name: str, input: Input, grid: tuple[int, ...], *, seed: int) -> "PlainMaker":
        """What makes it. Raises UsageError where the encoder is not fed points."""
        del grid, seed
        return PlainMaker(fed_points(name, self.to, input))


class PlainMaker:
    """Makes [1, N, 3 + features] float32."""

    def __init__(self, input: Points) -> None:
        """Keep the input."""
        self.layout = Layout(1, input.shape, np.dtype(np.float32))
        self.cues: Mapping[str, Layout] = {}
        self._input = input

    def windows(
        self, index: int, epoch: int, span: float, around: Sequence[Window] = ()
    ) -> list[Window]:
        """The whole cloud."""
        del index, epoch, span, around
        return [WHOLE]

    def __call__(
        self,
        decoded: Sequence[PointRows],
        windows: Sequence[Window],
        index: int,
        epoch: int,
        out: PointRows,
        around: Sequence[Window] = (),
    ) -> Mapping[str, NDArray[Any]]:
        """Fill out [1, N, 3 + features]. Which points are taken depends on their number alone."""
        del windows, index, epoch, around
        rows = framed(decoded[0], self._input)
        out[0] = rows[some(len(rows), self._input.count, np.random.default_rng(0))]
        return {}


def framed(rows: PointRows, input: Points) -> PointRows:
    """[N, 3 + features]: what an encoder is fed of rows [N, 9], at the size that it is fed.

    Moved to the mean of the points and scaled to the unit ball where the input says so.
    """
    columns = [0, 1, 2, *(range(3, 6) if input.colour else ())]
    columns += range(6, 9) if input.normals else ()
    found = rows[:, columns].copy() if len(columns) < rows.shape[1] else rows.copy()
    if input.unit:
        xyz = found[:, :3] - found[:, :3].mean(axis=0, dtype=np.float64)
        radius = float(np.sqrt(np.square(xyz).sum(axis=1).max()))
        found[:, :3] = xyz / radius if radius > 0 else xyz
    return found


def some(there: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Which `count` of so many points, in random order; all as often as they can be alike."""
    order = rng.permutation(there)
    return order[:count] if count <= there else np.resize(order, count)


def fed_points(name: str, to: str, input: Input) -> Points:
    """The input of an encoder, if it is fed points.

    Raises:
        UsageError: it is not.
    """
    if isinstance(input, Points):
        return input
    message = (
        f"The family {name!r} makes clouds of points, but the encoder {to!r} is fed "
        f"{type(input).__name__}. Make it for an encoder of points."
    )
    raise UsageError(message)
