"""Clips of the time of other clips."""

import numpy as np
import pytest

from manyviews.core import UsageError
from manyviews.core.inputs import Frames
from manyviews.core.sample import Window
from manyviews.views.by_input import random_of
from manyviews.views.pipeline import Fed, Pipeline
from manyviews.views.video.beside import BesideClips
from manyviews.views.video.clips import Clips

SHORT, LONG = Frames(side=16, frames=4, rate=8.0), Frames(side=8, frames=4, rate=1.0)


def windows(index, *, span=20.0, count=2):
    first = Clips(count=count).maker("video", SHORT, (), seed=0).windows(index, 0, span)
    make = BesideClips(to="other", count=count).maker("other", LONG, (), seed=0)
    return first, make.windows(index, 0, span, first)


def test_a_clip_has_its_middle_where_the_other_has_it():
    inside = 0
    for index in range(50):
        for one, other in zip(*windows(index), strict=True):
            assert (one.count, other.count) == (4, 4)
            np.testing.assert_allclose(other.stop - other.start, 4.0)
            middle = (one.start + one.stop) / 2
            if 2.0 <= middle <= 18.0:
                inside += 1
                np.testing.assert_allclose((other.start + other.stop) / 2, middle)
            else:
                assert other.start == (0.0 if middle < 2 else 16.0)
    assert inside > 60


def test_of_a_short_video_it_is_the_beginning():
    assert {window.start for window in windows(0, span=2.0)[1]} == {0.0}


def test_another_number_of_clips_is_refused():
    make = BesideClips(to="other", count=3).maker("other", LONG, (), seed=0)
    with pytest.raises(UsageError, match=r"cuts 3 pieces around 'video', which has 2"):
        make.windows(0, 0, 9.0, [Window(0.0, 1.0, 4)] * 2)


def test_a_pipeline_makes_it_after_the_other_and_alone_it_is_as_any_clip():
    plan = {"other": BesideClips(to="other", size=4), "video": Clips()}
    fed = {"video": Fed(SHORT), "other": Fed(LONG)}
    made = Pipeline(plan, fed)
    assert made.makes["other"].shape == (4, 4, 4, 3)
    [alone] = random_of(LONG, plan, "other").makes.values()
    assert alone.shape == (4, 8, 8, 3)
