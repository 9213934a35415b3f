"""Cuboids: what they show is what their cue says, and no edge goes on from one to the next."""

import numpy as np
import pytest

from manyviews.core import UsageError
from manyviews.core.inputs import Frames, Pixels
from manyviews.core.settings import check
from manyviews.views.video.cuboids import Cuboids

FED = Frames(side=6, frames=2, rate=8.0)
PLAIN = {"flip": 0.0, "grey": 0.0, "scale": (1.0, 1.0), "room": 1.5}
SIDE = 18
"""Pixels of both cells of nine."""


def video(start, side=SIDE):
    """[2, S, S, 3]: red counts rows, green columns, blue has the second at which it begins."""
    rows, columns = np.mgrid[:side, :side]
    frame = np.stack([rows * 10, columns * 10, np.full_like(rows, round(start * 20))], axis=-1)
    return np.repeat(frame[None], 2, axis=0).astype(np.uint8)


def made(plan, *, index=0, span=4.0):
    make = plan.maker("some", FED, (), seed=0)
    windows = make.windows(index, 0, span)
    out = np.zeros((make.layout.count, *make.layout.shape), make.layout.dtype)
    cues = make([video(w.start) for w in windows], windows, index, 0, out)
    return out, cues["order"], windows


def test_a_cuboid_along_space_lies_in_the_cell_that_its_cue_says():
    corners = set()
    for index in range(60):
        out, order, _ = made(Cuboids(**PLAIN), index=index)
        assert sorted(order) == [0, 1, 2, 3]
        for cuboid, cell in zip(out, order, strict=True):
            top, left = cuboid[0, 0, 0, :2] // 10
            wanted = video(0.0)[:, top : top + 6, left : left + 6, :2]
            assert np.array_equal(cuboid[..., :2], wanted)  # one piece, the same in all frames
            corners.add((top - cell // 2 * 9, left - cell % 2 * 9))
    assert corners == {(y, x) for y in range(4) for x in range(4)}


def test_cuboids_along_space_begin_within_the_slack():
    for slack in (0.0, 0.5):
        starts = np.array(
            [[w.start for w in made(Cuboids(slack=slack, **PLAIN), index=i)[2]] for i in range(40)]
        )
        assert np.ptp(starts, axis=1).max() <= slack + 1e-9
        assert (np.ptp(starts, axis=1) > 0.5 * slack).any() == bool(slack)
        assert np.ptp(starts[:, 0]) > 2


def test_cuboids_along_time_are_of_one_cell_at_the_times_that_their_cue_says():
    cells = set()
    for index in range(40):
        out, order, windows = made(Cuboids(along="time", **PLAIN), index=index)
        starts = np.array([w.start for w in windows])
        assert np.array_equal(np.argsort(np.argsort(starts)), order)
        assert np.diff(np.sort(starts)).min() >= FED.seconds - 1e-9
        assert np.array_equal(out[:, 0, 0, 0, 2], np.round(starts * 20))
        [where] = {tuple(cuboid[0, 0, 0, :2] // 90) for cuboid in out}
        cells.add(where)
        assert len({tuple(cuboid[0, 0, 0, :2]) for cuboid in out}) > 1  # each by itself
    assert cells == {(0, 0), (0, 1), (1, 0), (1, 1)}


@pytest.mark.parametrize("along", ["space", "time"])
def test_every_order_comes_equally_often(along):
    make = Cuboids(along=along).maker("some", FED, (), seed=0)
    counts = np.zeros((4, 4))
    for index in range(800):
        counts[np.arange(4), make._order(make._clips.states(index, 0))] += 1
    assert np.abs(counts / 800 - 1 / 4).max() < 4 * np.sqrt(0.25 * 0.75 / 800)


def test_all_cuboids_of_a_video_have_one_crop_and_one_set_of_colours():
    greys = set()
    for index in range(30):
        plan = Cuboids(along="time", room=1.0, scale=(0.3, 1.0), jitter=1.0)
        make = plan.maker("some", FED, (), seed=0)
        out = np.zeros((4, *make.layout.shape), np.uint8)
        noise = np.random.default_rng(0).integers(0, 256, (2, 20, 20, 3), dtype=np.uint8)
        make([noise] * 4, make.windows(index, 0, 4.0), index, 0, out)
        assert all(np.array_equal(one, out[0]) for one in out)
        greys.add(bool((out[..., 0] == out[..., 1]).all()))
    assert greys == {False, True}


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (Cuboids(count=5), "--views.space.count is 5; wanted 4, 9 or another square"),
        (Cuboids(scale=(0.5, 0.1)), "--views.space.scale is 0.5 0.1"),
        (Cuboids(room=0.9), "--views.space.room is 0.9; wanted 1 or more"),
    ],
)
def test_cuboids_that_cannot_be_cut_are_refused(plan, says):
    with pytest.raises(UsageError, match=says):
        check(plan, "views.space.")


def test_an_encoder_of_images_is_refused():
    with pytest.raises(UsageError, match="makes clips of video, but the encoder 'video' is fed"):
        Cuboids().maker("space", Pixels(side=6), (), seed=0)
