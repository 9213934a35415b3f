"""What is said of an encoder that is held against what it was before."""

import json

import pytest
import torch

from manyviews.diagnosis.against import Against, ByLabels, judge_start, judge_untrained, measures

BEFORE = {"view_consistency": 0.5, "lidar": 20.0, "rankme": 30.0, "collapsed": 0.0}
BEFORE |= {"shared_neighbours": 0.2}


def labels(difference, low, high):
    return ByLabels("kNN", 0.7, 0.7 + difference, difference, low, high)


@pytest.mark.parametrize(
    ("labelled", "standing", "light"),
    [
        (labels(0.02, 0.01, 0.03), "better", "ok"),
        (labels(0.02, -0.01, 0.03), "no better", "warn"),
        (labels(-0.02, -0.03, 0.01), "no better", "warn"),
        (labels(-0.02, -0.03, -0.01), "worse", "bad"),
    ],
)
def test_labels_decide_by_the_interval_of_the_difference(labelled, standing, light):
    better = BEFORE | {"view_consistency": 0.9, "lidar": 50.0}
    found = judge_start(BEFORE, better, labelled=labelled)
    assert (found.standing, found.light) == (standing, light)
    assert found.sentence.lower().startswith(f"{standing} than where you began: knn is")
    assert ("keep that encoder" in found.sentence) == (standing != "better")


@pytest.mark.parametrize(
    ("after", "standing"),
    [
        ({"view_consistency": 0.6, "lidar": 25.0}, "better"),
        ({"view_consistency": 0.6, "lidar": 20.0}, "better"),
        ({"view_consistency": 0.4, "lidar": 15.0}, "worse"),
        ({"view_consistency": 0.6, "lidar": 15.0}, "open"),
        ({"view_consistency": 0.501, "lidar": 19.9}, "open"),
    ],
)
def test_without_labels_a_fall_of_both_is_worse(after, standing):
    found = judge_start(BEFORE, {"collapsed": 0.0} | after)
    assert found.standing == standing
    assert "--probe.source" in found.sentence


def test_a_collapse_is_worse_whatever_else_is_measured():
    torch.manual_seed(0)
    before = measures(torch.randn(40, 8), torch.randn(40, 4, 8))
    after = measures(torch.ones(40, 8), torch.ones(40, 4, 8))
    assert {"lidar", "view_consistency", "rankme"} <= before.keys()
    found = judge_start(before, after, labelled=labels(0.1, 0.05, 0.15))
    assert found.standing == "worse"
    assert "collapsed" in found.sentence


def after(**changes):
    return BEFORE | changes


@pytest.mark.parametrize("judge", [judge_start, judge_untrained])
def test_a_result_is_read_back_as_it_was_written(judge):
    for labelled in (None, labels(0.1, 0.05, 0.15)):
        found = judge(BEFORE, after(view_consistency=0.9), labelled=labelled)
        assert Against.from_json(json.loads(json.dumps(found.to_json()))) == found
    with pytest.raises(TypeError):
        Against.from_json({"what": "this"})


def test_labels_decide_of_an_untrained_encoder_too():
    better = after(view_consistency=0.9, shared_neighbours=0.6)
    found = judge_untrained(BEFORE, better, labelled=labels(-0.1, -0.2, -0.05))
    assert (found.standing, found.light) == ("worse", "bad")
    assert found.number == "kNN 0.600, the untrained encoder 0.700"
    assert judge_untrained(BEFORE, better).number.startswith("shared neighbours 0.600")
    assert judge_start(BEFORE, better).number.startswith("view consistency 0.900")


@pytest.mark.parametrize(
    ("before", "after", "standing"),
    [
        (0.02, 0.0245, "no better"),  # too little to say anything of
        (0.02, 0.0255, "open"),  # a share of what was before
        (0.02, 0.0275, "open"),
        (0.02, 0.0285, "better"),
        (0.01, 0.0145, "no better"),  # and so much at the least
        (0.2, 0.24, "open"),
        (0.2, 0.26, "better"),  # which is no third of it, and clear all the same
        (0.2, 0.1, "no better"),
    ],
)
def test_an_encoder_learnt_where_views_share_more_neighbours_than_before(before, after, standing):
    sides = [BEFORE | {"shared_neighbours": value} for value in (before, after)]
    sides[1]["view_consistency"] = 0.99  # views of noise can be matched too
    found = judge_untrained(*sides)
    assert (found.standing, found.light) == (standing, "ok" if standing == "better" else "warn")
    assert ("Labels would tell" in found.sentence) == (standing == "open")


def test_words_say_of_each_measure_which_way_it_went():
    learnt = after(shared_neighbours=0.4, view_consistency=0.6, lidar=30.0)
    assert judge_untrained(BEFORE, learnt).sentence == (
        "Better than before training: shared neighbours rose from 0.200 untrained to 0.400; view "
        "consistency rose from 0.500 untrained to 0.600; LiDAR rose from 20.000 untrained to "
        "30.000."
    )
    same = judge_untrained(BEFORE, after(shared_neighbours=0.1)).sentence
    assert "neighbours fell from 0.200 untrained to 0.100; view consistency stayed at 0.5" in same
    assert "LiDAR stayed at 20.000." in same


@pytest.mark.parametrize(
    ("changes", "fell"),
    [
        ({"lidar": 15.0}, "LiDAR"),
        ({"view_consistency": 0.4}, "view consistency"),
        ({"view_consistency": 0.4, "lidar": 15.0}, "view consistency and LiDAR"),
        ({"lidar": 19.9}, ""),
    ],
)
def test_measures_that_disagree_are_called_mixed(changes, fell):
    found = judge_untrained(BEFORE, after(shared_neighbours=0.4, **changes))
    assert (found.standing, found.light) == ("better", "ok")
    mixed = "It learnt, though the measures are mixed: shared neighbours rose"
    assert found.sentence.startswith(mixed if fell else "Better than before training: ")
    assert ("Better" in found.sentence) == (not fell)
    said = f"Shared neighbours decide; {fell} can fall in a training that helps."
    assert found.sentence.endswith(said if fell else "LiDAR fell from 20.000 untrained to 19.900.")


def test_what_rose_and_does_not_decide_is_told_where_nothing_was_learnt():
    found = judge_untrained(BEFORE, after(view_consistency=0.99))
    assert found.sentence.startswith("No better than before training: ")
    assert found.sentence.endswith("view consistency can rise where nothing is learnt.")
    assert "can rise" not in judge_untrained(BEFORE, BEFORE).sentence


def test_labels_have_the_word_whatever_fell():
    found = judge_untrained(BEFORE, after(lidar=5.0), labelled=labels(0.02, 0.01, 0.03))
    assert found.sentence.startswith("Better than before training: kNN is 0.720")


def test_nothing_to_compare_is_open():
    found = judge_untrained({}, {"collapsed": 0.0})
    assert (found.standing, found.light, found.number) == ("open", "warn", "not measured")
