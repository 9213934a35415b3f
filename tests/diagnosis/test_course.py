import math

import numpy as np
import pytest

from manyviews.core import UsageError
from manyviews.diagnosis.course import choose, trend


def history(values, *, name="view_consistency", **others):
    found = []
    for i, value in enumerate(values):
        more = {key: series[i] for key, series in others.items()}
        found.append((100 * (i + 1), {name: value, **more}))
    return found


RISING = [0.2, 0.35, 0.5, 0.6, 0.68, 0.74]
FLAT = [0.2, 0.5, 0.7, 0.705, 0.706, 0.7055]
FALLING = [0.2, 0.5, 0.7, 0.72, 0.6, 0.5]


@pytest.mark.parametrize("scale", [1, 100])
@pytest.mark.parametrize("name", ["view_consistency", "lidar"])
@pytest.mark.parametrize(
    ("values", "state", "light"),
    [
        (RISING, "still improving", "ok"),
        (FLAT, "stop", "ok"),
        (FALLING, "getting worse", "warn"),
        (RISING[:3], "too early", "ok"),
        ([0.5] * 6, "stop", "ok"),
        ([0.2, 0.5, 0.7, 0.72, 0.5, 0.715], "stop", "ok"),  # one bad checkpoint is no trend
    ],
)
def test_a_trend_has_its_state(values, name, state, light, scale):
    found = trend(history([scale * value for value in values], name=name))
    assert (found.state, found.light) == (state, light)
    assert found.measure == ("" if state == "too early" else name)
    assert found.sentence.lower().startswith(state)
    assert "\n" not in found.sentence


NOISY = [0.02, 0.08, 0.12, 0.14, 0.12, 0.28, 0.17, 0.20, 0.30, 0.29, 0.31, 0.35, 0.28, 0.31, 0.36]
NOISY += [0.37, 0.35, 0.38, 0.39, 0.41, 0.447, 0.37, 0.38, 0.43, 0.408]


def test_batches_that_differ_are_no_trend_and_a_long_fall_is():
    """The first are of a training that was still learning, health check by health check."""
    assert trend(history(NOISY)).state != "getting worse"
    falls = [*NOISY, *np.linspace(0.38, 0.05, 20).tolist()]
    assert trend(history(falls)).state == "getting worse"


def test_a_rank_that_falls_is_worse_whatever_rises():
    falls = [40.0, 50.0, 45.0, 44.0, 20.0, 19.0]
    found = trend(history(RISING, effective_rank=falls))
    assert (found.state, found.measure) == ("getting worse", "effective_rank")
    assert "19.0 from 50.0" in found.sentence
    once = [40.0, 50.0, 45.0, 44.0, 20.0, 41.0]
    assert trend(history(RISING, effective_rank=once)).state == "still improving"


def test_view_consistency_goes_before_lidar_where_it_was_measured():
    assert trend(history(FLAT, lidar=[100 * v for v in RISING])).measure == "view_consistency"
    sparse = [math.nan] * 4 + [0.1, 0.1]
    found = trend(history(sparse, lidar=[100 * v for v in RISING]))
    assert (found.state, found.measure) == ("still improving", "lidar")


def test_a_stop_says_whether_features_still_move():
    found = trend(history(FLAT, graph_stability=[math.nan, 0.3, 0.5, 0.8, 0.9, 0.97]))
    assert "0.97" in found.sentence
    assert trend(history(RISING, graph_stability=[0.5] * 6)).state == "still improving"


@pytest.mark.parametrize(
    ("values", "rates"), [(RISING, [1.0] * 6), (FLAT, [1.0] * 6), (FALLING, [1.0] * 6)]
)
def test_numbers_of_batches_do_not_go_by_the_names_of_others(values, rates):
    kept = trend(history(values, lr=rates)).sentence
    logged = trend(history(values, lr=rates), of_batches=True).sentence
    assert "view consistency" in kept
    assert "view consistency" not in logged
    assert "the share of views found in their batch" in logged
    assert ("last 2 checkpoints" in kept) == ("last 2 stretches of the training" in logged)
    ended = trend(history(values, lr=[1.0, 1.0, 0.9, 0.8, 0.5, 0.01]), of_batches=True).sentence
    assert "view consistency" not in ended
    ranks = [40.0, 50.0, 45.0, 44.0, 20.0, 19.0]
    worse = trend(history(RISING, effective_rank=ranks), of_batches=True).sentence
    assert "the batches' effective rank fell to 19.0 from 50.0" in worse


def test_nothing_is_too_early_and_disorder_is_refused():
    assert trend([]).state == "too early"
    with pytest.raises(UsageError, match="rising order"):
        trend([(2, {}), (1, {})])


def test_the_highest_lidar_is_chosen():
    found = {1: {"lidar": 20.0}, 2: {"lidar": 50.0}, 3: {"lidar": 30.0}}
    assert choose(found) == 2


def test_near_ties_go_to_view_consistency_and_then_to_the_earlier():
    found = {
        1: {"lidar": 49.8, "view_consistency": 0.6},
        2: {"lidar": 50.0, "view_consistency": 0.5},
        3: {"lidar": 40.0, "view_consistency": 0.9},
    }
    assert choose(found) == 1
    assert choose({5: {"lidar": 50.0}, 3: {"lidar": 50.0}, 9: {"lidar": 50.0}}) == 3


def test_what_not_all_have_is_not_what_is_gone_by():
    found = {
        1: {"lidar": 90.0, "view_consistency": 0.2, "rankme": 5.0},
        2: {"lidar": math.nan, "view_consistency": 0.3, "rankme": 4.0},
    }
    assert choose(found) == 2
    assert choose({1: {"rankme": 5.0}, 2: {"rankme": 4.0, "view_consistency": 0.9}}) == 1


@pytest.mark.parametrize(
    "collapsed",
    [
        {"cosine": 0.99995},
        {"effective_rank": 1.2},
        {"effective_rank": 5.0, "width": 512.0},
        {"target_entropy": 0.999},
        {"usage_entropy": 0.02},
    ],
)
def test_a_collapsed_checkpoint_is_never_chosen(collapsed):
    sound = {"lidar": 10.0, "cosine": 0.3, "effective_rank": 40.0}
    assert choose({1: sound, 2: {"lidar": 99.0, **collapsed}}) == 1
    with pytest.raises(UsageError, match="all of them have collapsed"):
        choose({2: {"lidar": 99.0, **collapsed}})


def test_nothing_to_choose_by_is_one_line():
    for found, word in (({}, "no checkpoints"), ({1: {}, 4: {"std": 1.0}}, r"\[1, 4\]")):
        with pytest.raises(UsageError, match=word) as caught:
            choose(found)
        assert "\n" not in str(caught.value)


RATES = [0.3, 0.6, 1.0, 1.0, 1.0, 0.9, 0.8, 0.6, 0.3, 0.1, 0.03, 0.001]
"""A schedule to its end, as shares of its peak."""
STILL = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.86, 0.86, 0.86]
SOON = [0.3, 0.5, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.8, 0.86, 0.86, 0.86]


@pytest.mark.parametrize(("values", "rising"), [(STILL, True), (SOON, False)])
def test_a_schedule_that_has_ended_cannot_say_stop(values, rising):
    found = trend(history(values, lr=RATES))
    assert (found.state, found.rising) == ("ended", rising)
    assert "Stop" not in found.sentence
    assert "schedule has ended" in found.sentence
    assert ("still rising" in found.sentence) == rising
    assert ("cannot tell" in found.sentence) == (not rising)


def test_stop_is_said_where_the_rate_is_high():
    assert trend(history(FLAT, lr=[1.0] * 6)).state == "stop"
    assert trend(history(FLAT, lr=[1.0] * 5 + [0.05])).state == "ended"
    assert trend(history(RISING, lr=[1.0] * 6)).rising


def test_a_fall_is_told_though_the_schedule_has_ended():
    assert trend(history(FALLING, lr=[1.0, 1.0, 1.0, 0.5, 0.1, 0.0])).state == "getting worse"


def test_an_ended_schedule_of_few_checks_cannot_tell():
    found = trend(history([0.5, 0.6], lr=[1.0, 0.0]))
    assert (found.state, found.rising, found.measure) == ("ended", False, "")
