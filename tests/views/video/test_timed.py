"""Clips that know when they begin, and clips with colours of unlike probabilities."""

import numpy as np
import pytest

from manyviews.core import UsageError
from manyviews.core.inputs import Frames
from manyviews.core.settings import check
from manyviews.views.video.clips import Clips
from manyviews.views.video.timed import TimedClips
from manyviews.views.video.unlike import UnlikeClips

FED = Frames(side=8, frames=4, rate=8.0)


def maker(plan, seed=0):
    return plan.maker("global", FED, (), seed=seed)


def made(plan, *, index=0, span=4.0):
    make = maker(plan)
    windows = make.windows(index, 0, span)
    out = np.zeros((make.layout.count, *make.layout.shape), np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (4, 20, 20, 3), dtype=np.uint8)
    cues = make([noise] * len(windows), windows, index, 0, out)
    return out, cues, windows


def test_every_second_clip_begins_near_the_one_before_it_and_all_say_when():
    gaps, firsts = [], []
    for index in range(300):
        _, cues, windows = made(TimedClips(near=0.3), index=index)
        starts = np.array([w.start for w in windows])
        np.testing.assert_allclose(cues["time"], starts, atol=1e-6)
        assert cues["time"].dtype == np.float32
        assert starts.min() >= 0
        assert starts.max() <= 3.5
        gaps.append(starts[1::2] - starts[::2])
        firsts.append(starts[::2])
    gaps, firsts = np.array(gaps), np.array(firsts)
    assert np.abs(gaps).max() <= 0.3 + 1e-9
    assert gaps.min() < -0.2 < 0.2 < gaps.max()
    assert np.ptp(firsts) > 3
    assert np.abs(firsts[:, 0] - firsts[:, 1]).mean() > 0.8  # the pairs lie anywhere


def test_the_first_clip_of_a_pair_is_that_of_clips():
    plain, timed = maker(Clips(count=4)), maker(TimedClips())
    assert timed.windows(5, 1, 4.0)[::2] == plain.windows(5, 1, 4.0)[::2]
    assert timed.windows(5, 1, 4.0) == maker(TimedClips()).windows(5, 1, 4.0)
    assert [w.start for w in timed.windows(5, 1, 0.2)] == [0.0] * 4


def test_each_clip_is_blurred_and_solarised_with_a_probability_of_its_own():
    still = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": 0.0, "jitter": 0.0, "grey": 0.0}
    still |= {"sigma": (1.0, 2.0)}
    plain = made(Clips(count=2, **still))[0]
    changed = np.zeros(2)
    for index in range(60):
        out, _, _ = made(UnlikeClips(blurs=(1.0, 0.0), solarize=(0.0,), **still), index=index)
        changed += [not np.array_equal(a, b) for a, b in zip(out, plain, strict=True)]
    assert changed.tolist() == [60, 0]
    dark = made(UnlikeClips(blurs=(0.0,), solarize=(0.0, 1.0), **still))[0]
    assert np.array_equal(dark[0], plain[0])
    assert np.array_equal(dark[1], np.where(plain[1] >= 128, 255 - plain[1], plain[1]))


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (UnlikeClips(blurs=(0.1, 0.2, 0.3)), "--views.global.blurs is 0.1 0.2 0.3; wanted one"),
        (
            UnlikeClips(solarize=(2.0,)),
            "--views.global.solarize is 2; wanted a probability from 0 to 1",
        ),
        (UnlikeClips(blur=0.5), "--views.global.blur is 0.5; wanted 0, as each clip has"),
    ],
)
def test_probabilities_that_do_not_fit_are_refused(plan, says):
    with pytest.raises(UsageError, match=says):
        check(plan, "views.global.")
