"""What views of clouds keep, what they change, and what they say of where points were."""

import numpy as np
import pytest
import torch

from clouds import shape
from manyviews.core import UsageError
from manyviews.core.inputs import Pixels, Points
from manyviews.core.sample import WHOLE
from manyviews.views.points.clouds import Clouds
from manyviews.views.points.plain import PlainClouds, framed, some

STILL = {
    "cuboid": (1.0, 1.0),
    "drop": 0.0,
    "density": (1.0, 1.0),
    "flip": 0.0,
    "angle": 0.0,
    "scale": (1.0, 1.0),
}
METRES = Points(count=400, unit=False)


def cloud(count=400, seed=0):
    """[N, 9]: a stick, with colours and with normals away from its axis."""
    rng = np.random.default_rng(seed)
    xyz = shape("stick", seed=seed, count=count)
    normals = xyz * (1, 1, 0) / np.linalg.norm(xyz[:, :2], axis=1, keepdims=True)
    return np.concatenate([xyz, rng.random((count, 3)), normals], axis=1).astype(np.float32)


def made(input=METRES, rows=None, *, index=3, epoch=0, **settings):
    plan = Clouds(**{**STILL, "origin": True, **settings})
    make = plan.maker("points", input, (input.count,), seed=0)
    out = np.full((plan.count, *input.shape), 7.0, np.float32)
    rows = cloud() if rows is None else rows
    cues = make([rows] * plan.count, [WHOLE] * plan.count, index, epoch, out)
    return out, cues.get("origin")


def same_points(a, b):
    """Whether they hold the same rows, in whatever order."""
    return np.array_equal(np.unique(a.round(5), axis=0), np.unique(b.round(5), axis=0))


def test_without_any_change_a_view_is_the_cloud_in_another_order():
    out, origin = made(count=1)
    assert same_points(out[0], cloud()[:, :3])
    assert not np.array_equal(out[0], cloud()[:, :3])
    np.testing.assert_array_equal(out, origin)


@pytest.mark.parametrize(
    ("turn", "up", "kept"),
    [("up", "z", 2), ("up", "x", 0), ("any", "z", None), ("axis", "z", None)],
)
def test_turning_keeps_distances_and_about_an_axis_its_coordinate(turn, up, kept):
    out, origin = made(count=3, angle=180.0, turn=turn, up=up)
    for view, before in zip(out.astype(np.float64), origin.astype(np.float64), strict=True):
        np.testing.assert_allclose(
            np.linalg.norm(view - view[0], axis=1),
            np.linalg.norm(before - before[0], axis=1),
            atol=1e-5,
        )
        turned = np.linalg.lstsq(before, view, rcond=None)[0]
        assert np.linalg.det(turned) == pytest.approx(1.0, abs=1e-4)  # no mirror
        assert np.abs(view - before).max() > 0.05
        if kept is not None:
            np.testing.assert_allclose(view[:, kept], before[:, kept], atol=1e-6)
        if turn == "axis":  # one of the three stays
            assert np.abs(view - before).max(axis=0).min() < 1e-6
    assert not np.allclose(out[0], out[1], atol=1e-3)


def test_turning_about_one_axis_takes_them_as_often_as_the_authors():
    axes = []
    for index in range(600):
        out, origin = made(Points(count=9, unit=False), index=index, count=1, angle=170.0)
        axes.append(int(np.abs(out[0] - origin[0]).max(axis=0).argmin()))
    shares = np.bincount(axes, minlength=3) / len(axes)
    np.testing.assert_allclose(shares, [0.33, 0.67 * 0.66, 0.67 * 0.34], atol=0.06)


def test_mirroring_changes_signs_of_the_level_axes_alone():
    out, origin = made(count=1, flip=1.0)
    np.testing.assert_allclose(out, origin * np.float32([-1, -1, 1]))
    out, origin = made(count=1, flip=1.0, up="x")
    np.testing.assert_allclose(out, origin * np.float32([1, -1, -1]))


def test_scaling_is_one_factor_in_its_range():
    factors = []
    for index in range(50):
        out, origin = made(index=index, count=1, scale=(0.5, 2.0))
        ratio = out / origin
        assert ratio.max() - ratio.min() < 1e-3
        factors.append(float(ratio.mean()))
    assert 0.5 <= min(factors) < 0.7
    assert 1.7 < max(factors) <= 2.0


def test_jitter_moves_each_point_by_its_deviation():
    out, origin = made(count=1, jitter=0.05)
    assert (out - origin).std() == pytest.approx(0.05, rel=0.1)


def test_a_cuboid_is_kept_and_another_dropped():
    rows = np.zeros((4000, 9), np.float32)
    rows[:, :3] = np.random.default_rng(0).uniform(0, (4, 2, 1), (4000, 3))
    fed = Points(count=4000, unit=False)
    for index in range(5):
        [kept], _ = made(fed, rows, index=index, count=1, cuboid=(0.5, 0.5), least=0.1)
        extent = np.ptp(kept, axis=0)
        assert (extent <= np.array([4, 2, 1]) * 0.5 + 1e-6).all()
        inside = ((rows[:, :3] >= kept.min(axis=0)) & (rows[:, :3] <= kept.max(axis=0))).all(axis=1)
        assert len(np.unique(kept, axis=0)) == inside.sum() >= 0.1 * 4000
        [left], _ = made(fed, rows, index=index, count=1, drop=0.5)
        gone = len(np.unique(rows[:, :3], axis=0)) - len(np.unique(left, axis=0))
        assert 0.01 < gone / 4000 < 0.14  # about an eighth, where it lies inside


def test_fewer_points_repeat_and_more_are_left_out():
    out, _ = made(Points(count=900, unit=False), count=1)
    counts = np.unique(out[0], axis=0, return_counts=True)[1]
    assert (len(counts), counts.min(), counts.max()) == (400, 2, 3)
    out, _ = made(Points(count=100, unit=False), count=1)
    assert len(np.unique(out[0], axis=0)) == 100
    out, _ = made(count=1, density=(0.25, 0.25))
    assert len(np.unique(out[0], axis=0)) == 100
    assert sorted(some(3, 7, np.random.default_rng(0)).tolist()) in (
        [0, 0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 1, 2, 2], [0, 0, 1, 1, 2, 2, 2],
    )  # fmt: skip


def test_normals_turn_with_the_points_and_both_can_be_hidden():
    fed = Points(count=400, unit=False, colour=True, normals=True)
    [view], [origin] = made(fed, count=1, angle=180.0, turn="any", flip=0.5, scale=(2.0, 2.0))
    known = {tuple(row[:3].round(4)): row for row in cloud()}
    rows = np.stack([known[tuple(place.round(4))] for place in origin])
    turned = np.linalg.lstsq(rows[:, :3], view[:, :3], rcond=None)[0] / 2
    np.testing.assert_allclose(view[:, 6:], rows[:, 6:] @ turned, atol=1e-4)
    np.testing.assert_array_equal(view[:, 3:6], rows[:, 3:6])
    hidden, _ = made(fed, count=1, hide_colour=1.0)
    assert np.isnan(hidden[0, :, 3:6]).all()
    assert np.isfinite(hidden[0, :, 6:]).all()
    hidden, _ = made(fed, count=1, hide_normals=1.0)
    assert np.isfinite(hidden[0, :, 3:6]).all()
    assert np.isnan(hidden[0, :, 6:]).all()


def test_a_share_of_the_cells_is_hidden_and_the_points_in_them_shaken():
    fed = Points(count=400, unit=False, colour=True, normals=True)
    settings = {"hide": 0.6, "cell": 0.5, "shake": 0.03}
    for index in range(4):
        [view], [origin] = made(fed, index=index, count=1, **settings)
        hidden = np.isnan(view[:, 3:]).all(axis=1)
        assert np.isfinite(view[~hidden]).all()
        cells = ((origin - origin.min(axis=0)) // 0.5).astype(int)
        whole = {tuple(cell) for cell in cells.tolist()}
        gone = {tuple(cell) for cell in cells[hidden].tolist()}
        assert len(gone) == int(0.6 * len(whole))
        assert not gone & {tuple(cell) for cell in cells[~hidden].tolist()}
        moved = view[:, :3] - origin
        assert not moved[~hidden].any()
        assert moved[hidden].std() == pytest.approx(0.03 * 0.96, rel=0.15)  # cut at two deviations
        assert np.abs(moved).max() <= 0.06 + 1e-6
    assert Clouds(**settings, origin=True).alone() == Clouds(cell=0.5, shake=0.03)


def test_what_is_not_known_is_fed_as_nothing_and_restored_as_grey():
    fed = Points(count=4, colour=True, normals=True)
    raw = torch.full((2, 4, 9), torch.nan)
    raw[..., :3] = torch.randn(2, 4, 3)
    raw[0, :, 3:6] = 0.75
    x = fed.finish(raw)
    assert torch.equal(x[..., :3], raw[..., :3])
    assert torch.equal(x[0, :, 3:6], torch.full((4, 3), 0.25))
    assert not x[1, :, 3:].any()
    torch.testing.assert_close(fed.restore(x)[0, :, :6], raw[0, :, :6])
    assert torch.equal(fed.restore(x)[1, :, 3:6], torch.full((4, 3), 0.5))


def test_clouds_are_brought_to_the_unit_ball_where_the_input_says_so():
    rows = cloud() * 5 + 3
    unit = framed(rows, Points())
    np.testing.assert_allclose(unit.mean(axis=0), 0, atol=1e-6)
    assert np.linalg.norm(unit, axis=1).max() == pytest.approx(1.0)
    np.testing.assert_array_equal(framed(rows, METRES), rows[:, :3])
    same = np.zeros((3, 9), np.float32)
    np.testing.assert_array_equal(framed(same, Points()), same[:, :3])


def test_the_plain_view_never_changes():
    plan = PlainClouds(to="points")
    out = np.zeros((4, 1, 100, 3), np.float32)
    for k, (index, seed) in enumerate(((0, 0), (5, 0), (0, 1), (0, 0))):
        fed = Points(count=100)
        plan.maker("points", fed, (), seed=seed)([cloud()], [WHOLE], index, k, out[k])
    assert all(np.array_equal(out[0], one) for one in out)
    assert len(np.unique(out[0, 0], axis=0)) == 100


def test_origins_say_which_points_two_views_share():
    """Points of two crops that were at one place are one point, and no others are."""
    out, origin = made(
        Points(count=200, unit=False), count=2, cuboid=(0.6, 0.9), angle=180.0, turn="any"
    )
    away = np.linalg.norm(origin[0][:, None] - origin[1][None], axis=2)
    shared = np.argwhere(away < 1e-7)
    assert len(shared) > 20
    turned = np.linalg.lstsq(origin[0], out[0], rcond=None)[0]
    back = out[0] @ np.linalg.inv(turned)
    np.testing.assert_allclose(back[shared[:, 0]], origin[1][shared[:, 1]], atol=1e-4)


def test_what_cannot_be_made_is_refused():
    with pytest.raises(UsageError, match=r"makes clouds of points, but the encoder 'it' is fed P"):
        Clouds(to="it").maker("a", Pixels(), (4, 4), seed=0)
    with pytest.raises(UsageError, match=r"where each of 400 points .* has 16 tokens\. Set --enc"):
        Clouds(origin=True).maker("a", METRES, (16,), seed=0)
    assert [name for name, *_ in Clouds(scale=(1.2, 0.8), cuboid=(0.0, 1.0)).wrong()] == [
        "cuboid",
        "scale",
    ]
    assert Clouds(origin=True).alone() == Clouds()


def test_a_picture_has_three_projections():
    fed = Points(count=3, colour=True)
    place = [[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0], [1.0, -1.0, 1.0]]
    colour = [[0.5, -0.5, -0.5], [-0.5, 0.5, -0.5], [-0.5, -0.5, 0.5]]  # red, green, blue
    picture = fed.picture(torch.cat([torch.tensor(place), torch.tensor(colour)], dim=1))
    assert picture.shape == (96, 288, 3)
    assert picture.dtype == np.uint8
    front, side, above = picture[:, :96], picture[:, 96:192], picture[:, 192:]
    # from the front, along y: the nearer of the two at the top right is the blue one
    assert front[0, 95].tolist() == [0, 0, 255]
    assert front[95, 0].tolist() == [255, 0, 0]
    # from the side, along x from its high end: y to the right, z up
    assert side[0, 95].tolist() == [0, 255, 0]
    assert side[0, 0].tolist() == [0, 0, 255]
    assert side[95, 0].tolist() == [255, 153, 153]  # far away, and so paler
    assert above[0, 95].tolist() == [0, 255, 0]
    assert (picture == 255).all(axis=2).mean() > 0.99
