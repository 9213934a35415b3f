"""Random views of clouds: cut out, thinned out, turned, scaled, shaken."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from manyviews.core import UsageError
from manyviews.core.inputs import Input, Points
from manyviews.core.ranges import Count, NotNegative, Positive, Probability, Share
from manyviews.core.sample import WHOLE, Layout, Window
from manyviews.views.draw import family, streams
from manyviews.views.points.plain import PointRows, fed_points, framed, some

_TRIES = 100
_AXES = {"x": 0, "y": 1, "z": 2}


@dataclass(frozen=True, kw_only=True)
class Clouds:
    """A family of `count` random views of each cloud, in this order.

    Of the cloud as its encoder is fed it (`Points.unit`): a cuboid around one of its points is
    kept; a smaller one is dropped; of the rest a share of the points stays, and they are brought to
    the number that the encoder is fed; they are mirrored, turned, scaled and shaken; colours and
    normals of the whole view are hidden. Mirroring, turning and scaling are about the origin: the
    middle of the cloud, or in metres the sensor.

    The defaults are DepthContrast's for depth maps of rooms
    (facebookresearch/DepthContrast, configs/point_vox_template.yaml, transforms/augment3d.py),
    which does not shake.

    Attributes:
        to: the encoder that they are made for.
        of: the stream.
        count: V.
        around: no family.
        cuboid: each side of the kept cuboid as a share of the cloud's, least and most; 1 and 1
            keep all. No more than two of its three shapes are longer than 4 to 3.
        least: share of the points that the cuboid has to hold, after 100 tries whatever it holds.
        drop: each side of the dropped cuboid as a share of what is left; 0 drops nothing.
        density: share of the encoder's points that differ, least and most; the rest repeat them.
        flip: probability of mirroring, for each of the two level axes.
        turn: "axis" turns about one of the three axes (x in 33 of 100 clouds, y in 44, z in 23),
            "up" about `up`, "any" about a random direction.
        angle: degrees, at most, either way; 0 turns nothing.
        up: the axis that points upwards.
        scale: factor on all coordinates, least and most.
        jitter: deviation of what is added to each coordinate, as the encoder is fed it.
        hide: share of the cells that hold points whose points are hidden: their colours and normals
            are, and `shake` is added to their coordinates.
        cell: side of those cells, as the encoder is fed it, of the view as it has been moved.
        shake: deviation of what is added to each coordinate of a hidden point, up to twice it.
        hide_colour: probability that a view has no colours.
        hide_normals: probability that a view has no normals.
        origin: also make the cue "origin", [V, N, 3] float32: where each point was before it was
            mirrored, turned, scaled and shaken, which tells what the views have in common.
    """

    to: str = "points"
    of: str = "points"
    count: Count = 2
    around: str = ""
    cuboid: tuple[Share, Share] = (0.5, 1.0)
    least: Share = 0.2
    drop: Share = 0.2
    density: tuple[Share, Share] = (0.25, 1.0)
    flip: Probability = 0.5
    turn: Literal["axis", "up", "any"] = "axis"
    angle: NotNegative = 180.0
    up: Literal["x", "y", "z"] = "z"
    scale: tuple[Positive, Positive] = (0.8, 1.2)
    jitter: NotNegative = 0.0
    hide: Share = 0.0
    cell: Positive = 0.4
    shake: NotNegative = 0.01
    hide_colour: Probability = 0.0
    hide_normals: Probability = 0.0
    origin: bool = False

    def wrong(self) -> Iterator[tuple[str, object, str]]:
        """Ranges the wrong way round."""
        for name in ("cuboid", "density", "scale"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                yield name, (low, high), "two numbers above 0, the smaller one first"

    def alone(self) -> "Clouds":
        """Without what tells where points come from, and with no points hidden."""
        return replace(self, origin=False, hide=0.0)

    def maker(self, name: str, input: Input, grid: tuple[int, ...], *, seed: int) -> "CloudMaker":
        """What makes the views.

        Raises:
            UsageError: the encoder is not fed points; or their origins are wanted, and it has no
                token for each point.
        """
        fed = fed_points(name, self.to, input)
        tokens = math.prod(grid)
        if self.origin and tokens != fed.count:
            raise UsageError(
                f"The family {name!r} says where each of {fed.count} points comes from, and the "
                f"encoder {self.to!r} has {tokens} tokens. Set --encoders.{self.to}.up to the "
                "number of its levels, so that each point has a token."
            )
        return CloudMaker(self, name, fed, seed=seed)


class CloudMaker:
    """Makes the views of one family: [V, N, 3 + features] float32."""

    def __init__(self, clouds: Clouds, name: str, input: Points, *, seed: int) -> None:
        """Keep the plan."""
        number = np.dtype(np.float32)
        self.layout = Layout(clouds.count, input.shape, number)
        origin = Layout(clouds.count, (input.count, 3), number)
        self.cues: Mapping[str, Layout] = {"origin": origin} if clouds.origin else {}
        self._clouds, self._input = clouds, input
        self._seed, self._family = seed, family(name)

    def windows(
        self, index: int, epoch: int, span: float, around: Sequence[Window] = ()
    ) -> list[Window]:
        """The whole cloud for every view, which is read once."""
        del index, epoch, span, around
        return [WHOLE] * self._clouds.count

    def __call__(
        self,
        decoded: Sequence[PointRows],
        windows: Sequence[Window],
        index: int,
        epoch: int,
        out: PointRows,
        around: Sequence[Window] = (),
    ) -> Mapping[str, NDArray[Any]]:
        """Fill out [V, N, 3 + features]; return where the points were."""
        del windows, around
        states = streams(
            seed=self._seed,
            epoch=epoch,
            family=self._family,
            index=np.array([index]),
            count=len(out),
        )[0]
        whole = framed(decoded[0], self._input)
        origin = np.empty((len(out), self._input.count, 3), np.float32)
        for view, state in enumerate(states.tolist()):
            # One view has too many random numbers (a point or more each) to hash them one by one.
            rng = np.random.default_rng(state)
            rows = self._cut(whole, rng)
            origin[view] = rows[:, :3]
            out[view] = self._moved(rows, rng)
        return {"origin": origin} if self.cues else {}

    def _cut(self, rows: PointRows, rng: np.random.Generator) -> PointRows:
        """[N, 3 + features]: some of the points, as often as needed."""
        plan = self._clouds
        if plan.cuboid != (1.0, 1.0):
            rows = rows[_cuboid(rows[:, :3], plan, rng)]
        if plan.drop > 0:
            kept = ~_within(rows[:, :3], rng, np.full(3, plan.drop))
            rows = rows[kept] if kept.any() else rows
        differ = max(1, round(rng.uniform(*plan.density) * self._input.count))
        chosen = some(len(rows), min(differ, self._input.count), rng)
        return rows[chosen[some(len(chosen), self._input.count, rng)]]

    def _moved(self, rows: PointRows, rng: np.random.Generator) -> PointRows:
        """The same points elsewhere; what is hidden is NaN."""
        plan, rows = self._clouds, rows.copy()
        level = [axis for axis in range(3) if axis != _AXES[plan.up]]
        turn = np.eye(3)
        for axis in level:
            turn[axis, axis] = -1.0 if rng.random() < plan.flip else 1.0
        turn = _rotation(plan, rng) @ turn
        factor = rng.uniform(*plan.scale)
        xyz = rows[:, :3].astype(np.float64) @ (factor * turn).T
        if plan.jitter:
            xyz += plan.jitter * rng.standard_normal(xyz.shape)
        hidden = _in_cells(xyz, plan, rng) if plan.hide else np.zeros(len(xyz), np.bool_)
        if hidden.any():
            shaken = rng.standard_normal((int(hidden.sum()), 3)).clip(-2, 2)
            xyz[hidden] += plan.shake * shaken
        rows[:, :3] = xyz
        hide = rng.random(2) < (plan.hide_colour, plan.hide_normals)
        if self._input.normals:
            rows[:, -3:] = np.nan if hide[1] else rows[:, -3:] @ turn.T
        if self._input.colour and hide[0]:
            rows[:, 3:6] = np.nan
        rows[hidden, 3:] = np.nan
        return rows


def _cuboid(xyz: NDArray[np.float32], plan: Clouds, rng: np.random.Generator) -> NDArray[np.bool_]:
    """[N]: which points are in a random cuboid that holds enough of them."""
    inside = np.ones(len(xyz), dtype=np.bool_)
    for _ in range(_TRIES):
        sides = rng.uniform(*plan.cuboid, size=3)
        for _ in range(_TRIES):
            ratios = [min(a, b) / max(a, b) for a, b in zip(sides, np.roll(sides, 1), strict=True)]
            if max(ratios) >= 0.75:
                break
            sides = rng.uniform(*plan.cuboid, size=3)
        inside = _within(xyz, rng, sides)
        if inside.sum() >= plan.least * len(xyz):
            break
    return inside


def _in_cells(
    xyz: NDArray[np.float64], plan: Clouds, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """[N]: which points are in cells that are hidden, a share of those that hold any."""
    place = ((xyz - xyz.min(axis=0)) // plan.cell).astype(np.int64)
    _, cell = np.unique(place, axis=0, return_inverse=True)
    count = int(cell.max()) + 1
    return np.isin(cell.reshape(-1), rng.permutation(count)[: int(plan.hide * count)])


def _within(
    xyz: NDArray[np.float32], rng: np.random.Generator, sides: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """[N]: which points are in a cuboid around one of them, its sides in shares of the extent."""
    extent = xyz.max(axis=0) - xyz.min(axis=0)
    middle = xyz[rng.integers(len(xyz))]
    return (np.abs(xyz - middle) <= sides * extent / 2).all(axis=1)


def _rotation(plan: Clouds, rng: np.random.Generator) -> NDArray[np.float64]:
    """[3, 3], by Rodrigues' formula."""
    angle = math.radians(plan.angle) * rng.uniform(-1, 1)
    kind, direction = rng.random(), rng.uniform(-0.5, 0.5, 3)
    if plan.turn != "any":
        # The authors take x with 0.33, of the rest y with 0.66.
        drawn = 0 if kind < 0.33 else 1 if kind < 0.33 + 0.67 * 0.66 else 2
        direction = np.eye(3)[_AXES[plan.up] if plan.turn == "up" else drawn]
    x, y, z = direction / max(float(np.linalg.norm(direction)), 1e-12)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross
