"""Optical flow as what clips show, held against motion that is planted.

What fails if a bug is planted: right and left, or right and down, exchanged,
`test_flow_is_the_motion_that_was_planted`; frames too few or too near,
`test_flow_is_of_one_frame_more`; colours that change from frame to frame,
`test_flow_knows_no_colours`.
"""

import cv2
import numpy as np
import pytest

from manyviews.core import UsageError
from manyviews.core.inputs import Frames
from manyviews.core.sample import Window
from manyviews.runs.look import alterations
from manyviews.views.by_input import plain_of, random_of
from manyviews.views.video.clips import Clips
from manyviews.views.video.cuboids import Cuboids
from manyviews.views.video.flow import flow
from manyviews.views.video.plain import PlainClips

SIDE = 56
REACH = 20 / 224 * SIDE
FED = Frames(side=SIDE, channels=2, mean=(128 / 255,), std=(0.125,), frames=4, rate=8.0)
AS_IT_IS = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": 0.0}


def moving(right, down, *, frames=5, side=SIDE):
    """[T, S, S, 3]: a cloudy picture that moves by so many pixels a frame."""
    g = np.random.default_rng(0)
    small = g.uniform(0, 255, (20, 20, 3)).astype(np.float32)
    wide = side + 10 * frames
    large = cv2.resize(small, (wide, wide), interpolation=cv2.INTER_CUBIC).clip(0, 255)
    begin = 5 * frames
    shown = [
        large[begin - t * down : begin - t * down + side, begin - t * right :][:, :side]
        for t in range(frames)
    ]
    return np.stack(shown).astype(np.uint8)


def seen(levels):
    """The median motion in pixels, right and down, of flow [..., 2] uint8."""
    pixels = (levels.astype(float) - 128) / 127 * REACH
    return [float(np.median(pixels[..., axis])) for axis in range(2)]


def made(clips, clip, *, index=0):
    make = clips.maker("video", FED, (), seed=0)
    windows = make.windows(index, 0, 10.0)
    out = np.zeros((make.layout.count, *make.layout.shape), make.layout.dtype)
    assert not make([clip] * len(windows), windows, index, 0, out)
    return out


@pytest.mark.parametrize(("right", "down"), [(3, 0), (0, 2), (-2, 1), (0, 0)])
def test_flow_is_the_motion_that_was_planted(right, down):
    found = flow(moving(right, down))
    assert (found.shape, found.dtype) == ((4, SIDE, SIDE, 2), np.uint8)
    np.testing.assert_allclose(seen(found), [right, down], atol=0.25)
    assert np.abs(flow(moving(0, 0)).astype(int) - 128).max() <= 4


def test_motion_beyond_the_largest_is_the_largest():
    assert flow(moving(4, -4)).min() >= 1  # so that 256 - x is the opposite of every x
    large = np.rint(128 + 127 * np.clip(np.array([-9.0, 9.0]) / REACH, -1, 1))
    assert large.tolist() == [1, 255]


@pytest.mark.parametrize("family", [Clips(count=2, **AS_IT_IS), PlainClips(count=2)])
def test_flow_is_of_one_frame_more(family):
    make = family.maker("video", FED, (), seed=0)
    assert make.layout.shape == (4, SIDE, SIDE, 2)
    for window in make.windows(3, 0, 10.0):
        assert window.count == 5
        np.testing.assert_allclose(window.stop - window.start, 5 / 8)
        assert 0 <= window.start <= 10 - 5 / 8
    found = made(family, moving(2, 1))
    np.testing.assert_allclose(seen(found), [2, 1], atol=0.25)


def test_a_flipped_clip_moves_the_other_way_and_one_played_backwards_too():
    flipped = made(Clips(**AS_IT_IS | {"flip": 1.0}), moving(2, 1))
    np.testing.assert_allclose(seen(flipped), [-2, 1], atol=0.25)
    backwards = made(Clips(**AS_IT_IS, speeds=(-1.0,)), moving(2, 1))
    np.testing.assert_allclose(seen(backwards), [-2, -1], atol=0.25)


def test_flow_knows_no_colours():
    plain = {**AS_IT_IS, "jitter": 0.0}
    strong = {**AS_IT_IS, "jitter": 1.0, "grey": 1.0, "blur": 1.0}
    assert np.array_equal(made(Clips(**plain), moving(2, 1)), made(Clips(**strong), moving(2, 1)))


def test_crops_of_plain_flow_are_those_of_plain_clips():
    wide = np.concatenate([moving(2, 0), moving(-2, 0)], axis=2)
    make = PlainClips(count=2, crops=2).maker("video", FED, (), seed=0)
    out = np.zeros((2, *make.layout.shape), np.uint8)
    make([wide] * 2, make.windows(0, 0, 10.0), 0, 0, out)
    np.testing.assert_allclose([seen(crop)[0] for crop in out], [2, -2], atol=0.25)


def test_other_pictures_and_other_families_are_refused():
    grey = Frames(channels=1, mean=(0.5,), std=(0.5,))
    with pytest.raises(UsageError, match=r"1 channels; videos have 3, their optical flow 2"):
        Clips().maker("video", grey, (), seed=0)
    with pytest.raises(UsageError, match=r"2 channels; videos have 3\. Set 3"):
        Cuboids().maker("video", FED, (), seed=0)


def test_an_encoder_of_flow_alone_is_looked_at_with_flow():
    assert plain_of(FED).makes["encoder"].shape == (4, SIDE, SIDE, 2)
    [views] = random_of(FED, {}, "video").makes.values()
    assert views.shape == (4, SIDE, SIDE, 2)
    assert alterations(FED) == {}
    assert plain_of(FED).asks("video", span=8.0) == [Window(3.6875, 4.3125, 5)]
