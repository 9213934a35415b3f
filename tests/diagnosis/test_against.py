"""What is said of an encoder that is held against the one that it came from."""

import pytest
import torch

from manyviews.diagnosis.against import ByLabels, judge, measures

BEFORE = {"view_consistency": 0.5, "lidar": 20.0, "rankme": 30.0, "collapsed": 0.0}
WORDS = {"what": "the frozen start", "than": "where you began"}


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
    found = judge(BEFORE, better, labelled=labelled, **WORDS)
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
    found = judge(BEFORE, {"collapsed": 0.0} | after, **WORDS)
    assert found.standing == standing
    assert "--probe.source" in found.sentence


def test_a_collapse_is_worse_whatever_else_is_measured():
    torch.manual_seed(0)
    before = measures(torch.randn(40, 8), torch.randn(40, 4, 8))
    after = measures(torch.ones(40, 8), torch.ones(40, 4, 8))
    assert {"lidar", "view_consistency", "rankme"} <= before.keys()
    found = judge(before, after, labelled=labels(0.1, 0.05, 0.15), **WORDS)
    assert found.standing == "worse"
    assert "collapsed" in found.sentence


def test_the_words_are_those_of_the_caller():
    one = judge(
        BEFORE, BEFORE, what="an untrained encoder", than="an untrained encoder",
        labelled=labels(-0.1, -0.2, -0.05),
    )  # fmt: skip
    assert one.sentence.startswith(
        "Worse than an untrained encoder: kNN is 0.600, and 0.700 for an"
    )
