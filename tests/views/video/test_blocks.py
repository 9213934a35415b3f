"""V-JEPA's blocks: what is shown, what is predicted, and that both depend on the sample alone."""

from dataclasses import replace

import numpy as np
import pytest

from manyviews.core import UsageError
from manyviews.core.inputs import Frames, Pixels
from manyviews.core.sample import Window
from manyviews.core.settings import check
from manyviews.views.video.blocks import BlockClips
from manyviews.views.video.clips import Clips

FED = Frames(side=56, frames=8, rate=8.0)
GRID = (4, 14, 14)
TOKENS = 4 * 14 * 14
CLIP = np.random.default_rng(0).integers(0, 256, (8, 60, 70, 3), dtype=np.uint8)


def made(plan, *, index=3, epoch=1, grid=GRID, seed=5):
    maker = plan.maker("global", FED, grid, seed=seed)
    layout = maker.layout
    out = np.zeros((layout.count, *layout.shape), np.uint8)
    windows = [Window(0.0, 1.0, 8)] * layout.count
    cues = maker([CLIP] * layout.count, windows, index, epoch, out)
    for name, cue in cues.items():
        assert cue.shape == (layout.count, *maker.cues[name].shape)
    return out, cues["contexts"], cues["targets"]


def test_as_much_as_was_planned_is_shown_and_none_of_it_is_a_target():
    for index in range(20):
        _, contexts, targets = made(BlockClips(count=2), index=index)
        assert (contexts.sum(axis=-1) == [156, 39]).all()  # a fifth and a twentieth of 784
        assert not (contexts & targets).any()
        assert targets.any(axis=-1).all()


def test_blocks_span_all_times_and_are_rectangles_of_their_area():
    plan = BlockClips(blocks=(1, 1), area=(0.15, 0.7), shown=(0.01, 0.01))
    heights = set()
    for index in range(30):
        _, _, targets = made(plan, index=index)
        for one, area in zip(targets[0].reshape(2, *GRID), plan.area, strict=True):
            assert (one == one[0]).all()
            rows, columns = np.flatnonzero(one[0].any(axis=1)), np.flatnonzero(one[0].any(axis=0))
            assert one[0].sum() == len(rows) * len(columns)  # no hole
            assert abs(one[0].sum() / 196 - area) < 0.06
            heights.add(len(rows) - len(columns))
    assert min(heights) < 0 < max(heights)


def test_several_blocks_of_a_view_have_one_shape_and_lie_apart():
    _, _, targets = made(BlockClips(blocks=(1, 8), area=(0.15, 0.15), shown=(0.1, 0.1)))
    one, many = targets[0].reshape(2, *GRID).any(axis=1).sum(axis=(1, 2))
    assert many > 1.5 * one


def test_where_blocks_leave_too_little_some_of_them_is_shown_instead():
    plan = BlockClips(blocks=(1,), area=(1.0,), aspect=(1.0, 1.0), shown=(0.25,))
    _, contexts, targets = made(plan)
    assert contexts.sum() == 196
    assert (contexts ^ targets).all()


def test_a_view_depends_on_seed_epoch_and_sample_alone():
    first = made(BlockClips(count=1))
    wide = made(BlockClips(count=3))
    for a, b in zip(first, wide, strict=True):
        assert np.array_equal(a[0], b[0])
    for change in ({"index": 4}, {"epoch": 2}, {"seed": 6}):
        assert not np.array_equal(made(BlockClips(), **change)[2], first[2])


def test_the_clips_are_those_without_blocks():
    clips, _, _ = made(BlockClips(count=2))
    plain = Clips(count=2).maker("global", FED, GRID, seed=5)
    out = np.zeros_like(clips)
    plain([CLIP] * 2, [Window(0.0, 1.0, 8)] * 2, 3, 1, out)
    assert np.array_equal(clips, out)
    assert BlockClips(size=56, count=2, scale=(0.5, 1.0)).alone() == Clips(count=2, scale=(0.5, 1))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"area": (0.1,)}, "a number for each of the 2 sets"),
        ({"shown": (0.1, 0.1, 0.1)}, "a number for each of the 2 sets"),
        ({"aspect": (2.0, 1.0)}, "low <= high"),
        ({"area": (0.1, 1.5)}, "a share above 0"),
    ],
)
def test_sets_that_cannot_be_are_refused(change, words):
    with pytest.raises(UsageError, match=words):
        check(replace(BlockClips(), **change), "views.global.")


def test_encoders_without_times_and_places_are_refused():
    with pytest.raises(UsageError, match="blocks out of times, rows and columns"):
        BlockClips().maker("global", FED, (4, 4), seed=0)
    with pytest.raises(UsageError, match="is fed Pixels"):
        BlockClips().maker("global", Pixels(side=56), GRID, seed=0)
    with pytest.raises(UsageError, match=r"Leave out --views\.global\.size"):
        BlockClips(size=32).maker("global", FED, GRID, seed=0)
